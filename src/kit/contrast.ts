// Contrast of colours (WCAG 2.2, relative luminance), for the one that an operator chooses: the label of a button stands on
// it in white.

type Channels = readonly [red: number, green: number, blue: number]

/** `#rrggbb`. */
const channelsOf = (color: string): Channels => {
  const value = Number.parseInt(color.slice(1), 16)
  return [value >> 16, (value >> 8) & 255, value & 255]
}

const colorOf = (channels: Channels): string =>
  `#${channels.map((channel) => Math.round(channel).toString(16).padStart(2, '0')).join('')}`

const luminance = (color: string): number => {
  const [red, green, blue] = channelsOf(color).map((channel) => {
    const part = channel / 255
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
  }) as [number, number, number]
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}

/** From 1 to 21; text needs 4.5. */
export const contrastWithWhite = (color: string): number => 1.05 / (luminance(color) + 0.05)

export const leastContrast = 4.5

/** `share`: how much of the light stays, 0 to 1. */
export const darker = (color: string, share: number): string => {
  const [red, green, blue] = channelsOf(color)
  return colorOf([red * share, green * share, blue * share])
}

/** The color, or the lightest shade of it on which white text can be read. */
export const legibleShade = (color: string): string => {
  for (let percent = 100; percent > 0; percent--) {
    const shade = darker(color, percent / 100)
    if (contrastWithWhite(shade) >= leastContrast) return shade
  }
  return '#000000'
}
