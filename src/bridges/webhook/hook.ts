import type { Client } from '../../gateway/desk.ts';
import type { WebhookRow } from '../../gateway/store/webhook-table.ts';
import type { WebhookShelf } from '../../gateway/webhook-shelf.ts';
import type { WebhookSettings, WebhookState, WebhookView } from '../../gateway/webhooks.ts';
import { codeOf } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { createTurns, type Turns } from '../../lib/turns.ts';
import { forgiven, fresh, type Progress } from './progress.ts';
import { type Secret, secretsAt } from './signature.ts';

/** A webhook in memory: the truth while the hub runs, and what its row is written from. */
export interface Hook {
  readonly id: string;
  /** The id of its client. */
  readonly client: string;
  readonly createdAt: number;
  settings: WebhookSettings;
  secrets: readonly Secret[];
  /** The cursor of the last event it is done with. */
  position: string;
  progress: Progress;
  /** A request is under way. */
  sending: boolean;
  /** The last answer came late, or did not come. */
  doubtful: boolean;
  /** The last request was taken, in this run and under this URL. */
  proven: boolean;
  /** Ends when the way of going on has changed: it is begun anew. */
  changed: AbortController;
  /** Its client is not there for now. */
  paused: string | undefined;
  /** Since when it fails was noted since the start: it moves with the clock. */
  noted: boolean;
  /** Requests to its endpoint, and changes of its row: one after the other. */
  readonly sends: Turns;
  readonly changes: Turns;
}

type Kept = Pick<Hook, 'id' | 'client' | 'createdAt' | 'settings' | 'secrets' | 'position' | 'progress'>;

/** One at its beginning, or from what is kept of it. */
export function newHook(kept: Kept): Hook {
  return {
    ...kept,
    sending: false,
    doubtful: false,
    proven: false,
    changed: new AbortController(),
    paused: undefined,
    noted: false,
    sends: createTurns(),
    changes: createTurns(),
  };
}

export function hookOf(row: WebhookRow): Hook {
  return newHook({
    id: row.id,
    client: row.client,
    createdAt: row.created_at,
    settings: JSON.parse(row.settings) as WebhookSettings,
    secrets: JSON.parse(row.secrets) as Secret[],
    position: row.position,
    progress: { ...fresh, ...(JSON.parse(row.status) as Partial<Progress>) },
  });
}

export function rowOf(hook: Hook): WebhookRow {
  return {
    id: hook.id,
    client: hook.client,
    created_at: hook.createdAt,
    settings: JSON.stringify(hook.settings),
    secrets: JSON.stringify(hook.secrets),
    position: hook.position,
    status: JSON.stringify(hook.progress),
  };
}

/** Whether it is told of events at all. */
export function isOn({ settings, progress }: Hook): boolean {
  return settings.enabled && progress.ended === undefined;
}

export function viewOf(
  hook: Hook,
  client: Pick<Client, 'name'>,
  { pending, since }: ReturnType<WebhookShelf['behind']>,
  now: number,
): WebhookView {
  const { settings, progress } = hook;
  const { ended, ...shown } = forgivenUnless(hook);
  const state = stateOf(hook, pending);
  const reason = ended?.reason ?? (state === 'disabled' ? 'disabled by its owner' : hook.paused);
  const waits = state === 'waiting' && progress.failures > 0 ? progress.lastFailure?.reason : undefined;
  return {
    id: hook.id,
    client: client.name,
    createdAt: hook.createdAt,
    ...settings,
    enabled: isOn(hook),
    state,
    ...((reason ?? waits) !== undefined && { reason: (reason ?? waits) as string }),
    cursor: hook.position,
    pending,
    ...(since !== undefined && { pendingSince: since }),
    ...shown,
    secrets: secretsAt(hook.secrets, now).map(({ createdAt, until }) => ({
      createdAt,
      ...(until !== undefined && { until }),
    })),
    attempts: progress.attempts,
  };
}

/** Progress as it is shown: nothing is planned for what is off. */
function forgivenUnless(hook: Hook): Progress {
  const { nextAt, ...rest } = hook.progress;
  return isOn(hook) && nextAt !== undefined ? { ...rest, nextAt } : rest;
}

function stateOf(hook: Hook, pending: number): WebhookState {
  if (!isOn(hook)) {
    return 'disabled';
  }
  if (hook.paused !== undefined) {
    return 'paused';
  }
  if (hook.sending) {
    return 'sending';
  }
  return hook.progress.nextAt !== undefined || pending > 0 ? 'waiting' : 'idle';
}

/** The clock was set by so many ms: a failure that was noted by the one before is not older for that. */
export function moveTimes(hook: Hook, by: number): void {
  const { failingSince, nextAt } = hook.progress;
  hook.progress = {
    ...hook.progress,
    ...(failingSince !== undefined && hook.noted && { failingSince: failingSince + by }),
    ...(nextAt !== undefined && { nextAt: nextAt + by }),
  };
}

/** It is begun anew with what is known now, at once; what the hub has disabled stays so. */
export function restart(hook: Hook, reason: string): void {
  if (hook.progress.ended === undefined) {
    hook.progress = forgiven(hook.progress);
  }
  hook.doubtful = false;
  hook.proven = false;
  hook.changed.abort(new DOMException(reason, 'AbortError'));
  hook.changed = new AbortController();
}

/** Writes where hooks stand, one write of each at a time: what comes meanwhile goes with the next. */
export interface Keeper {
  note(hook: Hook): void;
  /**
   * Gives a hook another place to go on from. It is on disk before the hook goes by it, and nothing that is noted of the
   * place before comes to lie over it. Where it cannot be written nothing has changed.
   */
  place(hook: Hook, position: string, progress: Progress): Promise<void>;
  /** Resolves when nothing is left to write. */
  settle(): Promise<void>;
}

export function createKeeper({ shelf, log }: { readonly shelf: WebhookShelf; readonly log: Log }): Keeper {
  const writing = new Map<string, Promise<void>>();
  const again = new Set<Hook>();
  let isKeeping = true;

  /** Writes behind what is being written of the hook; what is noted meanwhile is written after that. */
  function inTurn(hook: Hook, write: () => Promise<void>): Promise<void> {
    const before = writing.get(hook.id) ?? Promise.resolve();
    const mine = before
      .catch(() => undefined)
      .then(write)
      .finally(() => {
        if (writing.get(hook.id) === mine) {
          writing.delete(hook.id);
          if (again.delete(hook)) {
            note(hook);
          }
        }
      });
    writing.set(hook.id, mine);
    return mine;
  }

  async function move(hook: Hook): Promise<void> {
    const { id, position, status } = rowOf(hook);
    try {
      await shelf.move({ id, position, status });
      isKeeping = true;
    } catch (error) {
      // It is sent again after a restart, under the same id. Said once for a whole row of failures.
      if (isKeeping) {
        log.warn(
          { webhook: id.slice(0, 8), code: codeOf(error) },
          'where a webhook stands cannot be written',
        );
      }
      isKeeping = false;
    }
  }

  function note(hook: Hook): void {
    if (writing.has(hook.id)) {
      again.add(hook);
    } else {
      void inTurn(hook, () => move(hook));
    }
  }

  return {
    note,
    place: (hook, position, progress) =>
      inTurn(hook, async () => {
        await shelf.put({ ...rowOf(hook), position, status: JSON.stringify(progress) });
        hook.position = position;
        hook.progress = progress;
      }),
    async settle() {
      while (writing.size > 0) {
        await Promise.allSettled(writing.values());
      }
    },
  };
}
