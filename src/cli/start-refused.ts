// The start that cannot be: one sentence that says what is wrong and what to do. Exit code 1, and nobody should restart it.

export class StartRefused extends Error {
  readonly code: string
  constructor(code: string, sentence: string) {
    super(sentence)
    this.name = 'StartRefused'
    this.code = code
  }
}
