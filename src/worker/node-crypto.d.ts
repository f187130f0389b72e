// What the Worker uses of nodejs_compat, so that its type check knows nothing else of Node.
declare module 'node:crypto' {
  export function hash(algorithm: 'sha256', text: string, encoding: 'base64url'): string
  export function scrypt(
    password: Uint8Array,
    salt: Uint8Array,
    keylen: number,
    cost: { readonly N: number; readonly r: number; readonly p: number; readonly maxmem: number },
    answer: (error: Error | null, key: Uint8Array) => void,
  ): void
}
