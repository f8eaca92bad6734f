import type { BridgePort } from '../../gateway/bridge.ts';
import { type Message, schemeOf, shownName } from '../../gateway/message.ts';
import type { OwnAddress } from './addresses.ts';

/** Characters of a claimed author, and of who claims it, where both are named. */
const longestClaim = 32;
const longestClaimant = 24;

/**
 * Who spoke, where the message leaves under another name; a reading says itself what it is of. Somebody else's word on
 * who spoke is passed on with whose word it is: `Alice (plaza)`, or anybody could speak in a room as anybody.
 */
export function authorOf(port: BridgePort, message: Message, own: OwnAddress): string | undefined {
  const isOwn = port.residentOf(message.from)?.addresses.includes(`lxmf:${own.destination.key}`) === true;
  const fromApp = schemeOf(message.from) === 'app' || schemeOf(message.from) === 'mqtt';
  const plain = isOwn || (fromApp && schemeOf(message.to) !== 'room') || message.type === 'sensor.reading';
  if (plain) {
    return undefined;
  }
  const sender = port.nameOf(message.from);
  const claimed = message.author?.name;
  return shownName(
    claimed === undefined ? sender : `${first(longestClaim, claimed)} (${first(longestClaimant, sender)})`,
  );
}

function first(count: number, text: string): string {
  return [...text.slice(0, 4 * count)].slice(0, count).join('');
}
