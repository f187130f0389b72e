// The memory store keeps the contract.
import { createMemoryStore } from '../../src/stores/memory.ts'
import { storeContract } from './store.ts'

storeContract('memory', () => {
  let time = 1_700_000_000_000
  const store = createMemoryStore({ now: () => time })
  return { store, other: store, advance: (ms) => void (time += ms), sweep: store.sweep }
})
