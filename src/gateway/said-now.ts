import { GatewayError } from '../lib/errors.ts';
import type { Bridge } from './bridge.ts';
import { type Rewrite, rewriteBy, wordsIn } from './folding.ts';
import { isChange } from './router.ts';
import type { Routes } from './routes.ts';
import type { DeliveryRow } from './store/delivery-table.ts';
import type { Store } from './store/store.ts';

export interface SaidNowOptions {
  readonly store: Store;
  readonly bridges: ReadonlyMap<string, Bridge>;
  readonly wordsFor: Routes['wordsFor'];
}

/**
 * What a delivery that ended in vain says if it is sent again: the words of the last edit, which has gone to those alone whom
 * the message had reached; undefined where it says what it said. Throws `request/conflict` where its message was
 * taken back, or says more by now than its bridge carries.
 */
export type SaidNow = (row: DeliveryRow) => Rewrite | undefined;

export function createSaidNow({ store, bridges, wordsFor }: SaidNowOptions): SaidNow {
  return row => {
    const message = store.read.message(row.message);
    const bridge = bridges.get(row.bridge);
    if (message === undefined || bridge === undefined || message.type === 'chat.redaction') {
      return undefined;
    }
    const target = isChange(message) ? message.inReplyTo : message.id;
    const change = store.read.lastChange(target, message.from, row.recipient);
    if (change?.type === 'chat.redaction') {
      throw new GatewayError('request/conflict', 'its message was taken back: there is nothing to send');
    }
    // A far side that can tell a repeat must know it as one: it has been told of the edit by itself.
    const isRepeat = row.state === 'ambiguous' && bridge.carries.deduplicates;
    if (change === undefined || change.id === message.id || isRepeat) {
      return undefined;
    }
    const ruling = store.read.rulingOf(row.id);
    const recipient = { bridge: row.bridge, address: row.recipient, ...(ruling && { ruling }) };
    const said = wordsFor(recipient, change, store.read.message(target));
    const rewrite = rewriteBy(change, said && wordsIn(message, said), bridge);
    if (rewrite === undefined) {
      throw new GatewayError(
        'request/conflict',
        `its message was changed, and says more now than ${bridge.name} carries`,
      );
    }
    return rewrite;
  };
}
