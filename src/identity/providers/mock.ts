// For tests: whoever types an email address is that person. The configuration allows it on this computer only.
import { Refusal } from '../../kit/refusal.ts'
import { plainEmail, short } from './claims.ts'
import { type IdentityProvider, type ProviderDeps, denialOf } from './provider.ts'

export const createMockProvider = ({ id, settings }: ProviderDeps): IdentityProvider => {
  const nowhere = (): Promise<never> =>
    Promise.reject(new Refusal('provider.untrusted', `${id} is a mock and sends no browser away`))
  return {
    id,
    name: settings.name ?? id,
    begin: nowhere,
    finish: nowhere,
    direct(form) {
      const email = plainEmail(form.get('email')?.trim().toLowerCase())
      if (email === undefined)
        throw new Refusal('request.malformed', 'email is not an email address', {
          say: 'Enter an email address such as ana@example.com.',
        })
      const name = short(form.get('name')?.trim())
      const person = { provider: id, subject: email, email, groups: [], ...(name ? { name } : {}) }
      return { person, denied: denialOf(person, settings) }
    },
    denied: (person) => denialOf(person, settings),
  }
}
