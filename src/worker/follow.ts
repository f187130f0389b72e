// What a subscriber and the object that keeps its record say to one another.

/** What a subscriber sends now and then, and what the platform answers for the object without waking it. */
export const [alive, living] = ['alive?', 'alive']

/** Where an object is asked, by WebSocket, to tell of every change of a record. */
export const followUrl = (key: string): string => `https://records.invalid/follow?key=${encodeURIComponent(key)}`
