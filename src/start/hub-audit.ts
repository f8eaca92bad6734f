import type { Reloaded } from '../bridges/http/settings.ts';
import { problemOf } from '../bridges/problems.ts';
import type { Audit, AuditEntry } from '../gateway/audit-entry.ts';
import { codeOf } from '../lib/errors.ts';

/** What the hub does by itself, or because somebody on its machine told its process to. */
const ownAct = (action: string): Omit<AuditEntry, 'status'> => ({
  actor: 'hub',
  door: 'hub',
  from: '',
  action,
});

/** Puts a start of this version on the record. Where no stop is before it, the one before ended otherwise. */
export function recordStart(audit: Audit, version: string): Promise<void> {
  return audit.record({ ...ownAct('hub.start'), target: version, status: 200 });
}

/** Puts a stop that was asked for on the record. */
export function recordStop(audit: Audit): Promise<void> {
  return audit.record({ ...ownAct('hub.stop'), status: 200 });
}

/** Reads the configuration again because the process was told to, and puts on the record what came of it. */
export async function recordReload(audit: Audit, reload: () => Promise<Reloaded>): Promise<Reloaded> {
  try {
    const done = await reload();
    await audit.record({ ...ownAct('config.reload'), keys: done.applied, status: 200 });
    return done;
  } catch (error) {
    audit.refused({ ...ownAct('config.reload'), status: problemOf(error).status, code: codeOf(error) });
    throw error;
  }
}
