import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exceptions } from './exceptions.ts';
import { type Exception, judge, type Outcome, roleOf } from './outcome.ts';

const ended = (id: string, outcome: Outcome['outcome']): Outcome => ({ id, outcome, seconds: 0, why: '' });
const known = (test: string, kind: Exception['kind'] = 'value'): Exception => ({
  test,
  rns: ['1.3.1'],
  kind,
  reason: 'it changed',
});

test('a failure is expected only where an exception of this version says so', () => {
  const outcomes = [ended('tests/a.py::x[kos]', 'failed'), ended('tests/a.py::y[kos]', 'failed')];
  const at = (rns: string) => judge(outcomes, [known('tests/a.py::x*')], rns).unexpected.map(({ id }) => id);
  assert.deepEqual(at('1.3.1'), ['tests/a.py::y[kos]']);
  assert.deepEqual(at('1.5.7'), ['tests/a.py::x[kos]', 'tests/a.py::y[kos]']);
});

test('an exception that no longer fails is told, unless it is the reference that fails', () => {
  const outcomes = [ended('tests/a.py::x[kos]', 'passed'), ended('tests/a.py::y[kos]', 'passed')];
  const listed = [known('*::x[[]kos]'), known('*::x[kos]'), known('*::y*', 'reference'), known('*::z*')];
  assert.deepEqual(judge(outcomes, listed, '1.3.1').stale, [listed[1]]);
});

test('a test of the wire is told apart by which side is ours', () => {
  assert.equal(
    roleOf('tests/wire/test_x.py::test_y[kos-to-reference-to-kos]'),
    'wire kos-to-reference-to-kos',
  );
  assert.equal(roleOf('tests/wire/test_x.py::test_y[512-kos-to-kos]'), 'wire kos-to-kos');
  assert.equal(
    roleOf('tests/wire/test_x.py::test_y[kos->reference->kos-boundary]'),
    'wire kos-to-reference-to-kos',
  );
  assert.equal(roleOf('tests/wire/test_x.py::test_y[kos-->kos-->ref]'), 'wire kos-to-kos-to-reference');
  assert.equal(roleOf('tests/behavioral/test_x.py::test_y[kos]'), 'behavioral');
  assert.equal(roleOf('tests/test_x.py::test_y[kos]'), 'primitive');
});

test('every exception has a reason and a version', () => {
  for (const { rns, reason } of exceptions) assert.ok(rns.length > 0 && reason.length > 10);
});
