// `postern version`.
import { readFileSync } from 'node:fs'

export interface Version {
  readonly version: string
  readonly node: string
  readonly platform: string
}

export const versionOf = (): Version => {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
  return { version: manifest.version, node: process.versions.node, platform: `${process.platform} ${process.arch}` }
}

export const versionText = ({ version, node, platform }: Version): string => `postern ${version} · node ${node} · ${platform}`
