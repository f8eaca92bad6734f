import type { CommitReport, JobFailure, JobReply, JobRequest, Verb } from './job.ts';

/*
 * Jobs and what became of them on their way between threads, without the names of their members: an object takes ten times what
 * an array does to be read, and most of what a thread is told are hundreds of the same.
 */

export type PackedJob = readonly [id: number, verb: Verb, args: unknown];

/** Of a message that was accepted, which nearly all of them are; of any other job; and why it was not done. */
export type PackedReply =
  | readonly [id: number, seqs: readonly number[]]
  | readonly [id: number, seqs: null, value: unknown]
  | readonly [id: number, seqs: null, value: null, failure: JobFailure];

export interface PackedReport extends Omit<CommitReport, 'urgent' | 'replies'> {
  readonly urgent: readonly PackedReply[];
  readonly replies: readonly PackedReply[];
}

export function packJob({ id, verb, args }: JobRequest): PackedJob {
  return [id, verb, args];
}

export function unpackJob([id, verb, args]: PackedJob): JobRequest {
  return { id, verb, args };
}

export function packReport({ urgent, replies, ...rest }: CommitReport): PackedReport {
  return { ...rest, urgent: urgent.map(packReply), replies: replies.map(packReply) };
}

export function unpackReport({ urgent, replies, ...rest }: PackedReport): CommitReport {
  return { ...rest, urgent: urgent.map(unpackReply), replies: replies.map(unpackReply) };
}

function packReply(reply: JobReply): PackedReply {
  if ('failure' in reply) {
    return [reply.id, null, null, reply.failure];
  }
  const { id, value } = reply;
  const accepted = value as
    | { readonly repeated?: boolean; readonly seqs?: readonly number[] }
    | null
    | undefined;
  return accepted?.repeated === false && accepted.seqs !== undefined
    ? [id, accepted.seqs]
    : [id, null, value];
}

function unpackReply([id, seqs, value, failure]: PackedReply): JobReply {
  if (failure !== undefined) {
    return { id, failure };
  }
  return { id, value: seqs === null ? value : { repeated: false, seqs } };
}
