// The one key under which anything of a person is kept: provider and the provider's stable subject. E-mail is
// never a key (two accounts may share one).

export const personKey = (person: { readonly provider: string; readonly subject: string }): string =>
  `${person.provider}:${person.subject}`
