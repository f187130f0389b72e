// `-o yaml`: results as YAML, loaded by those who ask for it.
import { stringify } from 'yaml'
import { type Printer, print } from './output.ts'

/** Of one command: whatever it prints after the first value is a document of its own. */
export const createYamlPrinter = (): Printer => {
  let several = false
  return (value) => {
    // Long texts stay on one line, as in a table.
    print(`${several ? '---\n' : ''}${stringify(value, { lineWidth: 0 }).trimEnd()}`)
    several = true
  }
}
