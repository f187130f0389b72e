// Names in metrics and traces come from closed lists, or from lists that stop growing: nobody who calls can make a
// series, or a span name, of whatever they like.

/** Methods of MCP 2024-11-05 to 2026-07-28; what is none of them is counted as `other`. */
const methods: ReadonlySet<unknown> = new Set(
  `completion/complete elicitation/create initialize logging/setLevel notifications/cancelled
  notifications/initialized notifications/progress notifications/roots/list_changed ping prompts/get prompts/list
  resources/list resources/read resources/subscribe resources/templates/list resources/unsubscribe roots/list
  sampling/createMessage server/discover subscriptions/listen tasks/cancel tasks/get tasks/list tasks/result
  tasks/update tools/call tools/list`.split(/\s+/),
)

export const methodOf = (method: unknown): string => (methods.has(method) ? String(method) : 'other')

/** More services than anybody wants series. */
export const mostServices = 1_000

/** Services by the first that were seen: there may be more than anybody wants series. */
export const createServiceNames = () => {
  const known = new Set<string>()
  return (id: unknown): string => {
    const name = typeof id === 'string' ? id : 'other'
    if (known.has(name)) return name
    if (known.size >= mostServices) return 'other'
    known.add(name)
    return name
  }
}

/** More tools of a service than anybody offers. */
const mostTools = 500
const toolName = /^[\w./:-]{1,64}$/

/**
 * Tools and prompts by service: those that a server has answered for, because anybody can call one that does not exist.
 * Undefined for any other name.
 */
export const createToolNames = () => {
  const known = new Map<string, Set<string>>()
  const of = (service: string): Set<string> => {
    const names = known.get(service) ?? new Set()
    if (known.size < mostServices) known.set(service, names)
    return names
  }
  return {
    learn(service: string, name: string): void {
      const names = of(service)
      if (names.size < mostTools && toolName.test(name)) names.add(name)
    },
    known: (service: string, name: string): string | undefined => (of(service).has(name) ? name : undefined),
  }
}
