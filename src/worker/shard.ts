// Which Durable Object keeps a key. Fixed for ever: another answer would leave every record behind where nobody looks.

export const shards = 16

/** FNV-1a over the characters; any even spread will do, nothing depends on it but load. */
export const shardOf = (key: string): number => {
  let hash = 0x811c9dc5
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
  return (hash >>> 0) % shards
}
