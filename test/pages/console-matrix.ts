// The matrix of access rules on the console in the states worth looking at.
import type { MatrixCell, MatrixTool, MatrixView, WhyView } from '../../src/ports/matrix.ts'
import { hostileNames } from './states.ts'

const groups = [undefined, 'admins', 'contractors', 'engineering', 'support']

const row = (
  name: string,
  about: string,
  need: MatrixTool['need'],
  may: string,
  more: Partial<MatrixTool> = {},
): MatrixTool => ({
  name,
  about,
  need,
  unmarked: false,
  held: false,
  cells: [...may].map((letter): MatrixCell => ({
    is: letter === 'a' ? 'allow' : 'never',
    rule: letter === 'x' ? 'access.deny[0]' : 'policy.tool',
    fixed: letter === 'x',
  })),
  ...more,
})

const tools = (worklogs: string): readonly MatrixTool[] => [
  row('search_issues', 'Find issues with JQL', 'read', 'naaaa'),
  row('get_issue', 'Read one issue with its comments', 'read', 'naaaa'),
  row('list_worklogs', 'Read logged time', 'read', worklogs),
  row('create_issue', 'Create an issue', 'write', 'naxaa'),
  row('transition_issue', 'Move an issue to another status', 'write', 'naxaa', { held: true }),
  row('delete_issue', 'Delete an issue for good', 'execute', 'naxnn'),
  row('drop_project', 'Delete a project', 'deny', 'xxxxx'),
  row('run_automation', 'Run an automation rule by name', 'execute', 'nnxnn', { unmarked: true }),
]

const matrix: MatrixView = {
  groups,
  tools: tools('naxaa'),
  before: tools('naxaa'),
  count: 8,
  page: { at: 1, count: 1 },
  changes: [],
  impossible: [],
  bound: 'any',
  where: { 'access.deny[0]': 'postern.yaml:41' },
}

export const changedMatrix: MatrixView = {
  ...matrix,
  tools: tools('naxan'),
  changes: [{ group: 'support', tool: 'list_worklogs', to: 'never' }],
  consequence: {
    days: 7,
    calls: 9120,
    refused: 41,
    granted: 0,
    unsaid: 3,
    people: ['entra:grace@example.com', 'entra:ines@example.com'],
    partial: false,
  },
}

const asked: WhyView = {
  asked: { person: 'entra:farid@example.com', tool: 'create_issue' },
  people: ['entra:farid@example.com', 'entra:grace@example.com'],
  tools: matrix.tools.map(({ name }) => name),
  answer: {
    person: 'entra:farid@example.com',
    tool: 'create_issue',
    open: false,
    allowed: false,
    code: 'policy.permission',
    rule: 'contractors-read-only',
    need: 'write',
    have: 'read',
    groups: ['contractors'],
    groupsUnknown: false,
    rules: [
      { id: 'access.deny[0]', effect: 'deny', matched: false, why: 'does not name this tool' },
      { id: 'contractors-read-only', effect: 'allow', matched: true, why: 'matches and grants read' },
      { id: 'stored:9f2c', effect: 'allow', matched: false, why: 'does not name this user' },
    ],
  },
  where: { 'access.deny[0]': 'postern.yaml:41', 'stored:9f2c': 'set by local:ana, 2026-11-03' },
}

const { answer: _, ...unasked } = asked
export const plainAccess = { matrix, why: { ...unasked, asked: {} } }
export const changedAccess = { matrix: changedMatrix, why: asked }
export const fixedAccess = {
  matrix: { ...matrix, bound: 'off' as const },
  why: { ...unasked, asked: { person: 'local:nobody', tool: 'x' } },
}
export const hostileAccess = {
  matrix: {
    ...changedMatrix,
    groups: [hostileNames.markup, hostileNames.override, hostileNames.unbroken],
    tools: [
      row(hostileNames.unbroken, hostileNames.markup, 'read', 'anx'),
      row(hostileNames.markup, hostileNames.long, 'write', 'xna'),
    ],
    before: [row(hostileNames.unbroken, '', 'read', 'anx'), row(hostileNames.markup, '', 'write', 'xaa')],
    changes: [{ group: hostileNames.override, tool: hostileNames.markup, to: 'never' as const }],
    impossible: [
      {
        group: hostileNames.markup,
        tool: hostileNames.markup,
        to: 'allow' as const,
        rule: hostileNames.markup,
      },
    ],
    where: { 'access.deny[0]': hostileNames.markup },
  },
  why: {
    ...asked,
    asked: { person: hostileNames.markup, tool: hostileNames.markup },
    people: [hostileNames.markup],
    tools: [hostileNames.markup],
    answer: asked.answer && {
      ...asked.answer,
      person: hostileNames.long,
      tool: hostileNames.markup,
      groups: [hostileNames.override],
      reason: hostileNames.markup,
    },
  },
}
