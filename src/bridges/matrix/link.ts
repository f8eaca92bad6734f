import type { Clock } from '../../lib/clock.ts';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { ServiceHealth } from '../../lib/service.ts';
import { matrixLimits } from './config.ts';
import { deviceId, type Homeserver, path, saidBy } from './homeserver.ts';
import { transactionId } from './mxid.ts';

export interface LinkParts {
  readonly homeserver: Homeserver;
  readonly bot: string;
  /** The appservice's id, as the registration has it. */
  readonly id: string;
  readonly url: string;
  readonly clock: Clock;
  readonly log: Log;
  /** How the way from the homeserver to the gateway is: a health of its own beside the bridge's. */
  readonly report: (health: ServiceHealth) => void;
}

/** The name under which the way from the homeserver to here shows in health. */
export const pushService = 'matrix-push';

/** Both directions of the connection with the homeserver. */
export interface Link {
  /** That the homeserver knows us by our token, as this user with this device. */
  check(signal: AbortSignal): Promise<void>;
  /**
   * Makes the homeserver send what it holds back. After a restart it tries again only when something happens that
   * concerns us, so the bot writes an event first; then a ping makes it send everything at once.
   */
  stir(control: string, key: string, signal: AbortSignal): Promise<void>;
  /** Asks the homeserver to call here; what is wrong with that shows in health. */
  ping(signal: AbortSignal): Promise<void>;
  /** Nothing comes from the homeserver now, and why; whoever ends the run logs it. */
  down(reason: string): void;
  /** Stands in a long poll until the homeserver is lost, which it throws at once; or the signal. */
  watch(user: string, signal: AbortSignal): Promise<void>;
}

/** Nothing is wanted of the poll but that it breaks. */
const nothing = JSON.stringify({
  presence: { limit: 0, types: [] },
  account_data: { limit: 0, types: [] },
  room: { rooms: [] },
});

/** Between two polls that come back at once. */
const shortestPoll = 1000;

export function createLink(parts: LinkParts): Link {
  const { homeserver, bot, clock, log } = parts;

  async function ping(signal: AbortSignal): Promise<void> {
    const call = {
      signal,
      prefix: '/_matrix/client/v1',
      body: { transaction_id: transactionId('ping', String(clock.now())) },
    };
    try {
      await homeserver.request(bot, 'POST', path`/appservice/${parts.id}/ping`, call);
      tell('up');
    } catch (error) {
      signal.throwIfAborted();
      if (!isGatewayError(error) || error.detail.lost === true) {
        throw error;
      }
      if (/Already(?:Called|Cancelled)/.test(String(error.message)) || saidBy(error, 'M_UNRECOGNIZED')) {
        // A ping into a delivery that is under way fails in Synapse and harms nothing; older homeservers have none.
        return;
      }
      const body = error.detail.body as { readonly status?: unknown } | undefined;
      tell('waiting', pingReason(error, parts.url, body?.status));
    }
  }

  let told: string | undefined;

  function tell(state: 'up' | 'waiting', reason?: string, isNews = true): void {
    const line = `${state} ${reason}`;
    if (line === told) {
      return;
    }
    told = line;
    if (reason !== undefined && isNews) {
      log.warn({ code: 'bridge/unavailable' }, reason);
    }
    parts.report({
      name: pushService,
      state,
      since: clock.now(),
      bugs: 0,
      ...(reason === undefined ? {} : { reason, code: 'bridge/unavailable' }),
    });
  }

  return {
    async check(signal) {
      const who = await homeserver.request(bot, 'GET', '/account/whoami', { signal });
      if (who.user_id !== bot) {
        throw new GatewayError(
          'bridge/unavailable',
          `the homeserver knows the token as ${String(who.user_id)} and not as ${bot}: is serverName right?`,
          { retryable: true },
        );
      }
      if (who.device_id !== deviceId) {
        log.warn(
          { user: bot },
          'the homeserver does not know devices of appservices: after a crash of its own a message may come twice',
        );
      }
    },
    async stir(control, key, signal) {
      await homeserver.request(
        bot,
        'PUT',
        path`/rooms/${control}/send/${'org.kos.start'}/${transactionId('start', key)}`,
        { signal, body: { at: clock.now() } },
      );
      await ping(signal);
    },
    ping,
    down: reason => tell('waiting', reason, false),
    async watch(user, signal) {
      let since: string | undefined;
      while (!signal.aborted) {
        const began = clock.monotonic();
        const first = since === undefined;
        try {
          const answer = await homeserver.request(user, 'GET', '/sync', {
            signal,
            timeout: matrixLimits.watchPoll + matrixLimits.requestTimeout,
            query: {
              filter: nothing,
              set_presence: 'offline',
              timeout: since === undefined ? 0 : matrixLimits.watchPoll,
              ...(since === undefined ? {} : { since }),
            },
          });
          since = typeof answer.next_batch === 'string' ? answer.next_batch : undefined;
        } catch (error) {
          signal.throwIfAborted();
          if (!isGatewayError(error) || error.detail.lost === true) {
            throw error;
          }
          since = undefined;
          log.debug({ code: error.code }, `the homeserver cannot be watched: ${error.message}`);
          await clock.sleep(matrixLimits.pingEvery, signal);
        }
        // Not after the first, which never waits: nobody would notice what happens meanwhile.
        if (!first && clock.monotonic() - began < shortestPoll) {
          await clock.sleep(shortestPoll, signal);
        }
      }
    },
  };
}

function pingReason(error: GatewayError, url: string, status: unknown): string {
  switch (error.detail.errcode) {
    case 'M_URL_NOT_SET':
      return 'the homeserver has no url for this gateway: its copy of the registration says url: null';
    case 'M_BAD_STATUS':
      return `the homeserver reaches ${url} and gets status ${String(status)}: is that this gateway, and is its registration the homeserver's?`;
    case 'M_CONNECTION_FAILED':
    case 'M_CONNECTION_TIMEOUT':
      return `the homeserver cannot reach this gateway at ${url}: compare the url of the registration with listen.http`;
    case 'M_FORBIDDEN':
      return "the homeserver does not take a ping with this token: is its copy of the registration the gateway's?";
    default:
      return `the homeserver did not ping: ${error.message}`;
  }
}
