// What the doors tell the configuration about the protocol, which the room of the configuration does not know.
import { publishedVersions } from './mcp/revisions.ts'

/** The revisions of MCP that `protocol_versions` may name, newest first. */
export const knownRevisions: readonly string[] = publishedVersions
