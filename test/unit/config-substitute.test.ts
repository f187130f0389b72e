// Variables in values.
import { describe, expect, it } from 'vitest'
import { substitute } from '../../src/config/reading.ts'

const env: Readonly<Record<string, string>> = { NAME: 'world', EMPTY: '', NESTED: '${NAME}' }
const fill = (text: string, placeholders: readonly string[] = []) =>
  substitute(text, (name) => env[name], { placeholders })

describe('a variable in a value', () => {
  it.each([
    ['plain text', 'plain text'],
    ['hello ${NAME}', 'hello world'],
    ['${NAME}${NAME}', 'worldworld'],
    ['${EMPTY}', ''],
    ['${MISSING:-there}', 'there'],
    ['${EMPTY:-there}', 'there'],
    ['${NAME:-there}', 'world'],
    ['${MISSING:-}', ''],
    ['${MISSING:-a:-b}', 'a:-b'],
    ['${MISSING:-${NAME}!}', 'world!'],
    ['${MISSING:-${ALSO:-deep}}', 'deep'],
    ['${NAME:?needed}', 'world'],
    ['$${NAME}', '${NAME}'],
    ['a $${NAME} b ${NAME}', 'a ${NAME} b world'],
    ['$$ and $NAME and $', '$$ and $NAME and $'],
    ['$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA', '$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA'],
  ])('turns %j into %j', (written, wanted) => {
    expect(fill(written)).toMatchObject({ text: wanted, faults: [] })
  })

  it('is never looked into again, whatever it holds', () => expect(fill('${NESTED}').text).toBe('${NAME}'))

  it('must be set, or have a default', () => {
    expect(fill('${MISSING}').faults).toEqual([
      'environment variable MISSING is not set: set it, or write ${MISSING:-default}',
    ])
    expect(fill('${A} ${B}').faults).toHaveLength(2)
    expect(fill('${MISSING:-${ALSO}}').faults).toEqual([
      'environment variable ALSO is not set: set it, or write ${ALSO:-default}',
    ])
  })

  it('brings the message of its author when it is unset or empty', () => {
    expect(fill('${MISSING:?ask the platform team}').faults).toEqual([
      'environment variable MISSING is not set: ask the platform team',
    ])
    expect(fill('${EMPTY:?ask the platform team}').faults).toHaveLength(1)
    expect(fill('${MISSING:?}').faults).toEqual(['environment variable MISSING is not set'])
  })

  it.each(['${}', '${1A}', '${A B}', '${A:x}', '${A:+x}', '${A-x}', '${${NAME}}'])(
    'is not guessed at: %j is a fault',
    (written) => {
      expect(fill(written).faults[0]).toMatch(/^contains an invalid expression: use \$\{NAME\}/)
    },
  )

  it('must be closed', () => expect(fill('a ${NAME').faults[0]).toMatch(/without a closing/))

  it('is left alone where another step fills the name in', () => {
    expect(fill('${id} ${NAME}', ['id'])).toMatchObject({ text: '${id} world', variables: ['NAME'] })
    expect(fill('${id}').faults).toHaveLength(1)
  })

  it('does not take the stack with it, however deeply it is nested', () => {
    expect(fill('${A:-'.repeat(5000) + '}'.repeat(5000)).faults.length).toBeGreaterThan(0)
  })
})
