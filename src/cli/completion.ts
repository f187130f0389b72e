// `postern completion`: scripts for bash, zsh and fish, made from the command tree, so that they know every command and
// option of this version. They ask nothing while somebody types.
import type { Command, Option } from 'commander'
import { print } from './output.ts'

export const shells = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof shells)[number]

interface Word {
  readonly word: string
  readonly about: string
}

/** One command, what may follow it, and what its options take. */
interface Entry {
  /** `''` for postern itself, `services add`. */
  readonly path: string
  readonly commands: readonly Word[]
  readonly options: readonly Word[]
  readonly choices: readonly (readonly [option: string, values: readonly string[]])[]
}

const optionWords = ({ long, short, description }: Option): readonly Word[] =>
  [long, short].flatMap((word) => (word ? [{ word, about: description }] : []))

const visible = (command: Command): readonly Option[] => [
  ...command.options.filter(({ hidden }) => !hidden),
  ...(command.parent ? visible(command.parent) : []),
]

const entriesOf = (command: Command, path = ''): readonly Entry[] => {
  const options = visible(command)
  return [
    {
      path,
      commands: [
        ...command.commands.map((one) => ({ word: one.name(), about: one.description() })),
        ...command.registeredArguments.flatMap(({ argChoices = [], description }) =>
          argChoices.map((word) => ({ word, about: description })),
        ),
      ],
      options: [...options.flatMap(optionWords), { word: '--help', about: 'Print this help.' }],
      choices: options.flatMap((option) =>
        option.argChoices
          ? optionWords(option).map(({ word }) => [word, option.argChoices ?? []] as const)
          : [],
      ),
    },
    ...command.commands.flatMap((one) => entriesOf(one, `${path} ${one.name()}`.trim())),
  ]
}

/** Options whose next word is theirs. */
const takers = (command: Command): readonly string[] => [
  ...new Set([
    ...command.options
      .filter(({ required, optional }) => required || optional)
      .flatMap((option) => optionWords(option).map(({ word }) => word)),
    ...command.commands.flatMap(takers),
  ]),
]

/** In single quotes; the words of commands hold none. */
const quote = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`
const words = (list: readonly { readonly word: string }[]): string => list.map(({ word }) => word).join(' ')

/** What bash and zsh share: both understand this much of each other. */
const cases = (entries: readonly Entry[]): string =>
  entries
    .flatMap(({ path, commands, options, choices }) => [
      ...choices.map(
        ([option, values]) => `    ${quote(`${path}|${option}`)}) answer=${quote(values.join(' '))} ;;`,
      ),
      `    ${quote(`${path}|`)}) answer=${quote(words(commands))} options=${quote(words(options))} ;;`,
    ])
    .join('\n')

/** `$1`: the words before the one that is typed, without `postern`. */
const finder = (program: Command): string => `
_postern_find() {
  local path='' known='' taken='' word
  for word in "$@"; do
    if [ -n "$taken" ]; then taken=''; continue; fi
    case " ${takers(program).join(' ')} " in *" $word "*) taken=$word; continue ;; esac
    case "$word" in
      --) return ;;
      -*) ;;
      *)
        known="\${path:+$path }$word"
        case "$known" in
${entriesOf(program)
  .slice(1)
  .map(({ path }) => `          ${quote(path)}) path=$known ;;`)
  .join('\n')}
        esac ;;
    esac
  done
  answer='' options=''
  case "$path|$taken" in
${cases(entriesOf(program))}
  esac
}
`

const bash = (
  program: Command,
): string => `# bash completion for postern. Load it: source <(postern completion bash)
${finder(program)}
_postern() {
  local answer options word=\${COMP_WORDS[COMP_CWORD]}
  _postern_find "\${COMP_WORDS[@]:1:COMP_CWORD-1}"
  case "$word" in -*) answer="$answer $options" ;; esac
  COMPREPLY=($(compgen -W "$answer" -- "$word"))
}
complete -o default -F _postern postern
`

const zsh = (program: Command): string => `#compdef postern
# zsh completion for postern. Load it: source <(postern completion zsh)
${finder(program)}
_postern() {
  local answer options
  _postern_find "\${(@)words[2,CURRENT-1]}"
  case "\${words[CURRENT]}" in -*) answer="$answer $options" ;; esac
  if [ -n "$answer" ]; then compadd -- \${=answer}; else _files; fi
}
compdef _postern postern
`

const fish = (program: Command): string => {
  const entries = entriesOf(program)
  const valued = new Set(takers(program))
  const lines = entries.flatMap(({ path, commands, options, choices }) => {
    const when = `-n ${quote(`_postern_at ${path.split(' ').map(quote).join(' ')}`.replaceAll("'", ''))}`
    const given = new Map(choices)
    return [
      ...commands.map(({ word, about }) => `complete -c postern -f ${when} -a ${word} -d ${quote(about)}`),
      ...options.map(({ word, about }) => {
        const name = word.startsWith('--') ? `-l ${word.slice(2)}` : `-s ${word.slice(1)}`
        const values = given.get(word)
        const takes = values ? ` -x -a ${quote(values.join(' '))}` : valued.has(word) ? ' -r' : ''
        return `complete -c postern ${when} ${name}${takes} -d ${quote(about)}`
      }),
    ]
  })
  return `# fish completion for postern. Load it: postern completion fish | source
function _postern_at
  set -l takers ${takers(program).join(' ')}
  set -l path
  set -l taken
  for word in (commandline -opc)[2..]
    if test -n "$taken"
      set taken
    else if contains -- $word $takers
      set taken $word
    else if not string match -q -- '-*' $word
      contains -- (string join ' ' $path $word) ${entries
        .slice(1)
        .map(({ path }) => quote(path))
        .join(' ')}
      and set path $path $word
    end
  end
  test "$path" = "$argv"
end
${lines.join('\n')}
`
}

export const printCompletion = (shell: Shell, program: Command): void =>
  print({ bash, zsh, fish }[shell](program).trimEnd())
