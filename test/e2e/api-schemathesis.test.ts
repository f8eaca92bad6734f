import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { documentPath } from '../../tools/openapi.ts';
import { casesOf, driveApi, ensureApiTools } from './api-schemathesis.ts';

const python = await ensureApiTools();
const skip =
  python === undefined && 'no Python for it; on Debian: apt-get install python3 python3-venv python3-pip';

test('the committed document is valid OpenAPI 3.1', { skip }, async () => {
  const { stdout } = await promisify(execFile)(python ?? '', [
    '-m',
    'openapi_spec_validator',
    '--schema',
    '3.1',
    documentPath,
  ]);
  assert.match(stdout, /OK/);
});

test('schemathesis finds nothing in any operation of the API, in any of its phases', {
  skip,
  timeout: 540_000,
}, async t => {
  const seed = Number(process.env.SEED ?? 1);
  t.diagnostic(`seed ${seed}: again with SEED=${seed} node --test test/e2e/api-schemathesis.test.ts`);
  const summary = await driveApi(python ?? '', seed, 3);
  const { made, passed } = casesOf(summary);
  const phases = summary.split('\n').filter(line => /generated|Scenarios|passed|Selected/.test(line));
  t.diagnostic(phases.map(line => line.trim()).join(' | '));
  assert.equal(passed, made);
  assert.ok(made > 2000, `it tried something: ${summary.slice(-2000)}`);
});
