// What a session's event streams have said, so that a client that lost its connection can take up where it was (2025-11-25 transports, resumability).

export interface Told {
  readonly id: string
  readonly data: string
}

export interface History {
  /** Keeps one event of a stream and gives it its id: unique in the session, and naming the stream. */
  add(stream: number, data: string): string
  /** The stream of an event id; undefined for an id that was never given out. */
  streamOf(id: string): number | undefined
  /** What that stream said after the event, as far as it is kept. */
  after(id: string): readonly Told[]
}

const mostEvents = 2000
const mostCharacters = 8_388_608

export const createHistory = (): History => {
  const kept: (Told & { readonly stream: number; readonly at: number })[] = []
  let count = 0
  let size = 0
  const read = (id: string): { readonly stream: number; readonly at: number } | undefined => {
    const [, stream, at] = /^(\d{1,15})-(\d{1,15})$/.exec(id) ?? []
    return at !== undefined && Number(at) > 0 && Number(at) <= count ? { stream: Number(stream), at: Number(at) } : undefined
  }
  return {
    add(stream, data) {
      const at = ++count
      const id = `${stream}-${at}`
      kept.push({ id, stream, at, data })
      size += data.length
      while (kept.length > mostEvents || (size > mostCharacters && kept.length > 1)) size -= kept.shift()?.data.length ?? 0
      return id
    },
    streamOf: (id) => read(id)?.stream,
    after(id) {
      const from = read(id)
      return from ? kept.filter(({ stream, at }) => stream === from.stream && at > from.at) : []
    },
  }
}
