// The section `branding`: whose gateway it is, on the pages that people meet.
import * as z from 'zod'
import { contrastWithWhite, leastContrast, legibleShade } from '../kit/contrast.ts'

const mostLogoBytes = 65_536

/** What is wrong with a logo; undefined for one that can be shown. */
const logoFault = (text: string): string | undefined => {
  const [, base64] = /^data:image\/(?:svg\+xml|png|webp|jpeg);base64,([A-Za-z0-9+/]+={0,2})$/.exec(text) ?? []
  if (base64 === undefined)
    return 'must be a data URL of an SVG, PNG, WebP or JPEG image in base64, e.g. data:image/png;base64,…'
  return base64.length * 0.75 > mostLogoBytes ? 'is larger than 64 KiB' : undefined
}

const colorFault = (color: string): string | undefined => {
  if (!/^#[0-9a-f]{6}$/i.test(color)) return 'must be a color such as #0f7a6c'
  const contrast = contrastWithWhite(color)
  return contrast < leastContrast
    ? `is too light for the white text of buttons: its contrast is ${contrast.toFixed(1)}:1, and ${leastContrast}:1 is needed. ${legibleShade(color)} works`
    : undefined
}

const judged = (fault: (text: string) => string | undefined) =>
  z.string().check((context) => {
    const message = fault(context.value)
    if (message !== undefined) context.issues.push({ code: 'custom', message, input: context.value })
  })

export const brandingKeys = z
  .strictObject({
    name: z
      .string()
      .min(1)
      .max(60)
      .optional()
      .describe('Name of the organization. It stands at the top of every page, instead of Postern.'),
    color: judged(colorFault)
      .optional()
      .describe(
        'Color of the main button, as `#rrggbb`. It must be dark enough for white text (contrast 4.5:1).',
      ),
    logo: judged(logoFault)
      .optional()
      .describe(
        'Logo beside the name: a data URL of an SVG, PNG, WebP or JPEG image in base64, at most 64 KiB. It is shown 24 pixels high, on light and dark.',
      ),
  })
  .describe('Name, color and logo of the organization on all pages. See [Branding](../guide/branding.md).')
