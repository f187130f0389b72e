// Which Durable Object has a key. This must never change: existing records would not be found.

export const shards = 16

/** FNV-1a over the characters. Only the load depends on its spread. */
export const shardOf = (key: string): number => {
  let hash = 0x811c9dc5
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
  return (hash >>> 0) % shards
}
