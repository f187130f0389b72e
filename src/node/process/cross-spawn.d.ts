// The one function that is used of cross-spawn, which brings no types of its own.
declare module 'cross-spawn' {
  import type { ChildProcess, SpawnOptions } from 'node:child_process'
  export default function spawn(command: string, args: string[], options: SpawnOptions): ChildProcess
}
