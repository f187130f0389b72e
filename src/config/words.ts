// A command line split into its words, as no shell would: quotes hold words together, and nothing else is understood.

export const wordsOf = (line: string): readonly string[] => [...line.matchAll(/(?:"[^"]*"|'[^']*'|\S)+/g)].map(([word]) => word.replaceAll(/"([^"]*)"|'([^']*)'/g, '$1$2'))
