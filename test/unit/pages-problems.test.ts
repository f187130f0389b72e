// The error pages know every refusal that can reach a person, and none that does not exist.
import { expect, test } from 'vitest'
import { refusals } from '../../src/kit/refusal.ts'
import { connectionRefusals } from '../../src/kit/refusals-connections.ts'
import { grantRefusals } from '../../src/kit/refusals-grants.ts'
import { mcpRefusals } from '../../src/kit/refusals-mcp.ts'
import { oauthRefusals } from '../../src/kit/refusals-oauth.ts'
import { proofRefusals } from '../../src/kit/refusals-proofs.ts'
import { verifyRefusals } from '../../src/kit/refusals-verify.ts'
import { problemFor, problems } from '../../src/pages/problem-texts.ts'

/**
 * Refusals that only programs see: token and registration endpoints, MCP calls, authorization errors that
 * always go back by redirect, what comes with a page of its own, and a Worker that has no pages yet.
 */
const programsOnly =
  /^(gateway|token|grant|code|refresh|scope|registration|mcp|rpc|upstream(?=\.(?!credential))|origin|session|service|encode|line|upgrade|process|block|rule|policy|pin|account(?=\.(?!form))|personal-token|device|exchange|proof|task|assertion|verify)\.|^(admin\.form|person\.(?:removed|unknown)|flow\.unknown|calls\.(?:limited|bytes|rate)|audit\.(?:unavailable|none|body-unknown)|auditor\.required|request\.origin|request\.encoding|request\.accept|client\.auth|client\.grant|pkce\.verifier|resource\.mismatch|consent\.(?:denied|level|declined|tool))$/

test('every refusal that can reach a person has a page: title, who must act, what to do', () => {
  const missing = Object.keys(refusals).filter((code) => !(code in problems) && !programsOnly.test(code))
  expect(
    missing,
    'give these an entry in src/pages/problem-texts.ts, or name them here as seen by programs only',
  ).toEqual([])
})

test('no refusal is in two tables, of which one would win', () => {
  const tables = [
    oauthRefusals,
    grantRefusals,
    proofRefusals,
    verifyRefusals,
    mcpRefusals,
    connectionRefusals,
  ]
  const codes = tables.flatMap((table) => Object.keys(table))
  expect(codes.toSorted()).toEqual(Object.keys(refusals).toSorted())
})

test('every page belongs to a refusal', () => {
  expect(Object.keys(problems).filter((code) => !(code in refusals))).toEqual([])
  expect(Object.keys(problems).filter((code) => programsOnly.test(code))).toEqual([])
})

test('a page says the sentence of the refusal, and something to do beside it', () => {
  for (const [code, problem] of Object.entries(problems)) {
    const view = problemFor(code, 'The sentence.')
    expect(view).toMatchObject({ code, what: 'The sentence.', title: problem.title, who: problem.who })
    expect(view.steps.length + (view.onward ? 1 : 0) + (view.recipes?.length ?? 0), code).toBeGreaterThan(0)
    expect(view.title.length, code).toBeLessThan(60)
    expect(view.onward?.href ?? '/', code).toMatch(/^\/(?!\/)/)
  }
})

test('a lost registration comes with the way back for each client', () => {
  const text = JSON.stringify(problemFor('client.unknown', ''))
  for (const part of [
    'Claude Code',
    'claude.ai',
    'ChatGPT',
    'rm -rf ~/.mcp-auth',
    'Authentication: Remove Dynamic Authentication Providers',
    'Cursor',
    'Codex',
  ])
    expect(text).toContain(part)
})

test('a refusal that the catalogue does not know falls back to its own sentence', () => {
  expect(problemFor('future.code', 'What the row says.')).toMatchObject({
    code: 'future.code',
    what: 'What the row says.',
    title: 'Request failed',
  })
})
