import type { GatewayEvent } from '../gateway/desk.ts';
import type { JsonValue } from '../gateway/message.ts';
import { toHex } from '../lib/bytes.ts';
import type { Cancel, Clock } from '../lib/clock.ts';
import type { LinkChange, Links } from '../mesh/reticulum/links.ts';
import type { TransitLinkChange } from '../mesh/reticulum/transit-links.ts';
import type { Transport } from '../mesh/reticulum/transport.ts';
import type { PathChange } from '../mesh/reticulum/ways.ts';

export interface MeshEventsParts {
  readonly clock: Clock;
  readonly transport: Pick<Transport, 'onPath' | 'onTransitLink'>;
  readonly links: Pick<Links, 'onChange'>;
  readonly publish: (
    kind: 'path.changed' | 'link.changed',
    members: Pick<GatewayEvent, 'path' | 'link'>,
  ) => void;
}

/** Events of one kind in a minute that name what changed; what comes on top is told together at the minute's end. */
export const namedPerMinute = 600;
const minute = 60_000;

/**
 * Tells of every path and link that changes. Announces cost nothing to invent, and every event is a row on disk: in a
 * flood what is beyond the bound is one event with counts, so that whoever watches knows to look at the list.
 */
export function tellMeshChanges({ clock, transport, links, publish }: MeshEventsParts): Cancel {
  const paths = createSpout(clock, path => publish('path.changed', { path }));
  const ends = createSpout(clock, link => publish('link.changed', { link }));
  const stops = [
    transport.onPath(change => {
      const how = howOf(change);
      if (how !== undefined) {
        paths.tell(how, () => pathEvent(change, how));
      }
    }),
    links.onChange(change =>
      ends.tell(change.closed === undefined ? 'opened' : 'closed', () => linkEvent(change)),
    ),
    transport.onTransitLink(change =>
      ends.tell(change.closed === undefined ? 'opened' : 'closed', () => transitEvent(change)),
    ),
  ];
  return () => {
    for (const stop of [...stops, paths.close, ends.close]) {
      stop();
    }
  };
}

/** What is new about a way; undefined where it was only heard again. */
function howOf({ path, before }: PathChange): 'learnt' | 'changed' | 'forgotten' | undefined {
  if (path === undefined) {
    return 'forgotten';
  }
  if (before === undefined) {
    return 'learnt';
  }
  const isSame =
    path.hops === before.hops &&
    path.interfaceName === before.interfaceName &&
    toHex(path.nextHop) === toHex(before.nextHop);
  return isSame ? undefined : 'changed';
}

function pathEvent({ destinationHash, path }: PathChange, change: string): JsonValue {
  return {
    destination: toHex(destinationHash),
    change,
    ...(path !== undefined && {
      hops: path.hops,
      interface: path.interfaceName,
      nextHop: toHex(path.nextHop),
      expires: path.expires,
    }),
  };
}

function linkEvent({ link, closed }: LinkChange): JsonValue {
  return {
    id: link.key,
    destination: toHex(link.destinationHash),
    role: link.role,
    interface: link.iface.name,
    hops: link.hops,
    change: closed === undefined ? 'opened' : 'closed',
    ...(closed !== undefined && { reason: closed }),
  };
}

function transitEvent({ link, closed }: TransitLinkChange): JsonValue {
  return {
    id: link.key,
    destination: toHex(link.destinationHash),
    role: 'transit',
    interface: link.receivedOn.name,
    onward: link.sentOn.name,
    hops: link.takenHops + link.remainingHops,
    change: closed === undefined ? 'opened' : 'closed',
    ...(closed !== undefined && { reason: closed }),
  };
}

interface Spout {
  tell(how: string, event: () => JsonValue): void;
  close(): void;
}

/** Lets so many out in a minute, and the rest as counts by how. */
function createSpout(clock: Clock, publish: (event: JsonValue) => void): Spout {
  let told = 0;
  let counts: Record<string, number> = {};
  let cancel: Cancel | undefined;

  function endMinute(): void {
    cancel = undefined;
    told = 0;
    if (Object.keys(counts).length > 0) {
      publish({ change: 'many', counts });
      counts = {};
    }
  }

  return {
    tell(how, event) {
      cancel ??= clock.after(minute, endMinute);
      if (told < namedPerMinute) {
        told += 1;
        publish(event());
      } else {
        counts[how] = (counts[how] ?? 0) + 1;
      }
    },
    close: () => cancel?.(),
  };
}
