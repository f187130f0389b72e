// One line a claim, and an exit code that says whether all of them held.

export interface Verdicts {
  /** Prints the claim with what was seen. */
  claim(held: boolean, claim: string, seen: string): void
  /** Prints the sum and sets the exit code: 0 when every claim held, else 1. */
  end(): void
}

export const createVerdicts = (name: string): Verdicts => {
  let held = 0
  let failed = 0
  return {
    claim(good, claim, seen) {
      if (good) held++
      else failed++
      console.log(`${good ? 'held  ' : 'FAILED'}  ${claim}: ${seen}`)
    },
    end() {
      console.log(
        `${name}: ${failed === 0 ? `all ${held} claims held` : `${failed} of ${held + failed} claims FAILED`}`,
      )
      process.exitCode = failed === 0 ? 0 : 1
    },
  }
}
