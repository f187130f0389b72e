// Origins that an operator wrote down, and which URL is at one of them.

const loopbackAnyPort = /^(https?:\/\/(?:localhost|127\.0\.0\.1|\[::1\])):\*$/i

/** `https://host`, `http://host:port`, or a loopback host with `:*` for every port. */
export const isOriginPattern = (text: string): boolean => loopbackAnyPort.test(text) || (/^https?:\/\/[^/?#@\\\s]+$/i.test(text) && URL.canParse(text))

/** Whether the URL's origin is one of those written. */
export const atOrigin = (url: URL, written: readonly string[]): boolean =>
  written.some((text) => {
    const any = loopbackAnyPort.exec(text)?.[1]
    if (any === undefined) return URL.canParse(text) && new URL(text).origin === url.origin
    return `${url.protocol}//${url.hostname}` === any.toLowerCase()
  })
