// The revisions of MCP, for the configuration, which may not import the mcp module.
import { publishedVersions } from './mcp/revisions.ts'

/** The revisions of MCP that `protocol_versions` may name, newest first. */
export const knownRevisions: readonly string[] = publishedVersions
