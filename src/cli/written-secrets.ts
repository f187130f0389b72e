// Secrets among the values of a service that was written for a client: they move to variables, which a file of its own
// holds, so that the configuration can be shown and shared.

export interface ForeignService {
  readonly url?: string
  readonly command?: string
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly upstream_auth?: { readonly headers?: Readonly<Record<string, string>> }
}

/** Variables with their values, by what they stand for. */
export type MovedSecrets = Map<string, string>

const secretName =
  /key|token|secret|passw|credential|auth|bearer|cookie|dsn|connection_?string|database_?url/i
/** As the larger services give them out, JSON Web Tokens, and long random words. */
const secretValue =
  /^(?:sk-|gh[opsu]_|github_pat_|xox[abprs]-|glpat-|eyJ|AKIA|AIza|ntn_|lin_api_)|^(?=.*\d)(?=.*[A-Za-z])[\w+/=-]{24,}$/

const isReference = (value: string): boolean => /\$\{[^{}]+\}/.test(value)

const isSecret = (name: string, value: string): boolean =>
  value !== '' && !isReference(value) && (secretName.test(name) || secretValue.test(value))

const plain = (text: string): string =>
  text
    .toUpperCase()
    .replaceAll(/[^A-Z0-9]+/g, '_')
    .replaceAll(/^_+|_+$/g, '')

/** Replaces the value by the variable that holds it now. */
type Move = (name: string, value: string) => string

const createMove =
  (id: string, secrets: MovedSecrets): Move =>
  (name, value) => {
    const [own, part] = [plain(id), plain(name)]
    // A prefix of their own: no variable of the gateway, or of another program, is meant by it.
    const first = `SECRET_${part.startsWith(`${own}_`) || part === '' ? part || own : `${own}_${part}`}`
    let variable = first
    for (let n = 2; secrets.has(variable) && secrets.get(variable) !== value; n++) variable = `${first}_${n}`
    secrets.set(variable, value)
    return `\${${variable}}`
  }

/** `--api-key=…`, and `--api-key …`: the word after the option. */
const argumentsWithout = (args: readonly string[], move: Move): readonly string[] =>
  args.map((word, i) => {
    const [, option = '', value = ''] = /^(-{1,2}[\w-]+)=(.+)$/s.exec(word) ?? []
    if (option !== '' && isSecret(option, value)) return `${option}=${move(option, value)}`
    const before = args[i - 1] ?? ''
    if (/^-{1,2}[\w-]+$/.test(before) && !word.startsWith('-') && isSecret(before, word))
      return move(before, word)
    return isSecret('', word) ? move('argument', word) : word
  })

const urlWithout = (text: string, move: Move): string => {
  const url = URL.parse(text)
  if (!url || isReference(text)) return text
  // What is moved stands behind the parser's back: it would encode the braces.
  const moved: [string, string][] = []
  const put = (name: string, value: string): string => {
    const mark = `moved-secret-${moved.length}`
    moved.push([mark, move(name, value)])
    return mark
  }
  if (url.password !== '') url.password = put('password', decodeURIComponent(url.password))
  for (const [name, value] of [...url.searchParams])
    if (isSecret(name, value)) url.searchParams.set(name, put(name, value))
  if (moved.length === 0) return text
  return moved.reduce((whole, [mark, reference]) => whole.replace(mark, () => reference), url.href)
}

/** The service with variables in place of secrets, which are added to `secrets`. */
export const withoutSecrets = <Service extends ForeignService>(
  id: string,
  service: Service,
  secrets: MovedSecrets,
): Service => {
  const move = createMove(id, secrets)
  const each = (values: Readonly<Record<string, string>>, all: boolean): Record<string, string> =>
    Object.fromEntries(
      Object.entries(values).map(([name, value]) => [
        name,
        (all ? value !== '' && !isReference(value) : isSecret(name, value)) ? move(name, value) : value,
      ]),
    )
  const { url, args, env, upstream_auth: auth } = service
  return {
    ...service,
    ...(url !== undefined && { url: urlWithout(url, move) }),
    ...(args && { args: argumentsWithout(args, move) }),
    ...(env && { env: each(env, false) }),
    // A header that is sent to a server is a credential until somebody says otherwise.
    ...(auth?.headers && { upstream_auth: { ...auth, headers: each(auth.headers, true) } }),
  }
}

/** `NAME='value'`, as Node and shells read it; undefined for a value with every kind of quote in it. */
export const variableLine = (name: string, value: string): string | undefined => {
  const quote = ["'", '"', '`'].find(
    (mark) => !value.includes(mark) && (mark !== '"' || !value.includes('\\')),
  )
  return quote === undefined ? undefined : `${name}=${quote}${value}${quote}`
}
