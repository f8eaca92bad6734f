import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { CommitReport, JobReply, JobRequest } from '../../../src/gateway/store/job.ts';
import { packJob, packReport, unpackJob, unpackReport } from '../../../src/gateway/store/packed-reply.ts';

const failure = fc.record(
  { code: fc.string(), message: fc.string(), retryable: fc.boolean(), damaged: fc.string() },
  { requiredKeys: ['code', 'message', 'retryable'] },
);
const value = fc.oneof(
  fc.constantFrom(undefined, null, 0, false, 'sent', [1, 2]),
  fc.record({ repeated: fc.constant(false), seqs: fc.array(fc.nat()) }),
  fc.record({ repeated: fc.constant(true), id: fc.string(), same: fc.boolean() }),
  fc.constant([{ repeated: false, seqs: [1] }]),
);
const reply: fc.Arbitrary<JobReply> = fc.oneof(
  fc.record({ id: fc.nat(), value }),
  fc.record({ id: fc.nat(), failure }),
);
const report = fc.record<CommitReport, 'urgent' | 'replies'>(
  { urgent: fc.array(reply), replies: fc.array(reply), newestEvent: fc.nat(), events: fc.constant([]) },
  { requiredKeys: ['urgent', 'replies'] },
);

test('what became of jobs, and the jobs themselves, are the same after their way between threads', () => {
  fc.assert(
    fc.property(report, told => {
      assert.deepEqual(unpackReport(structuredClone(packReport(told))), structuredClone(told));
    }),
  );
  const job: JobRequest = { id: 7, verb: 'accept', args: { a: [1] } };
  assert.deepEqual(unpackJob(structuredClone(packJob(job))), job);
});
