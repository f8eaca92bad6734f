import { type ErrorCode, isGatewayError } from '../../lib/errors.ts';
import type { Random } from '../../lib/random.ts';
import type { Access } from '../access.ts';
import { mqttLimits } from './config.ts';
import { hasScope, type Who } from './rights.ts';

/** What of a CONNECT decides who it is. */
export interface Credentials {
  /** 3 for MQTT 3.1, 4 for 3.1.1. */
  readonly level: number;
  readonly clientId: string;
  readonly clean: boolean;
  readonly username?: string | undefined;
  readonly password?: Uint8Array | undefined;
}

/** The answer to a CONNECT; `returnCode` as CONNACK has it. */
export type Verdict =
  | { readonly admitted: true; readonly who: Who; readonly sessionId: string; readonly clean: boolean }
  | {
      readonly admitted: false;
      readonly returnCode: 2 | 3 | 4 | 5;
      readonly code: ErrorCode;
      readonly reason: string;
    };

export interface LoginParts {
  readonly access: Access;
  readonly anonymous: boolean;
  readonly random: Random;
}

/** Longest client id, UTF-8 characters; MQTT 3.1 itself stops at 23. */
const longestClientId = 256;

/**
 * Who a CONNECT comes from. User name is the client's name, password its token. A session is named after both
 * the client and its MQTT client id, so that nobody takes over another client's session by its id.
 */
export function judge(credentials: Credentials, remote: string, parts: LoginParts): Verdict {
  const { clientId, clean, level, username, password } = credentials;
  if (
    clientId.length > (level === 3 ? 23 : longestClientId) ||
    (clientId === '' && (!clean || level === 3))
  ) {
    return refusal(2, 'request/invalid', 'client id: missing without a clean session, or too long');
  }
  const unique = clientId === '' ? `auto-${Buffer.from(parts.random.bytes(8)).toString('hex')}` : clientId;
  if (password === undefined || password.length === 0) {
    return parts.anonymous
      ? { admitted: true, who: { client: undefined }, sessionId: `?/${unique}`, clean: true }
      : refusal(
          5,
          'request/unauthenticated',
          'no password: send the client name as user name and its token as password',
        );
  }
  try {
    const client = parts.access.client(Buffer.from(password).toString('utf8'), remote, {
      door: 'mqtt',
      name: username,
    });
    if (client.name !== username) {
      return refusal(4, 'request/unauthenticated', 'the user name is not the client of this token');
    }
    const who = { client };
    return hasScope(who, 'mqtt')
      ? { admitted: true, who, sessionId: `${client.name}/${unique}`, clean }
      : refusal(5, 'request/forbidden', 'the token lacks the scope mqtt');
  } catch (error) {
    if (!isGatewayError(error, 'request/unauthenticated', 'request/rate-limited')) {
      throw error;
    }
    return refusal(error.code === 'request/rate-limited' ? 5 : 4, error.code, error.message);
  }
}

/** For a client that has all the connections it may have. */
export const crowded = refusal(
  3,
  'request/rate-limited',
  `${mqttLimits.connectionsPerClient} connections of this client are open already`,
);

/** For a log-in that something of ours kept from being checked. */
export const unavailable = refusal(3, 'internal', 'the log-in could not be checked');

function refusal(returnCode: 2 | 3 | 4 | 5, code: ErrorCode, reason: string): Verdict {
  return { admitted: false, returnCode, code, reason };
}
