import { type Address, schemeOf } from './message.ts';
import { isKept } from './own-rooms.ts';

/** A room as somebody wants it. */
export interface RoomSetting {
  readonly members: readonly Address[];
  /** Whoever can write to it on the mesh may join it by saying so. */
  readonly open?: boolean | undefined;
}

/** A new member that is still to be told so, or to be asked. */
export interface Newcomer {
  readonly address: Address;
  /** By which it is told once, however often that is begun. */
  readonly key: string;
}

/**
 * What was changed of a room while the hub ran. It lies over the configuration and is never written into that: of a room
 * the configuration names, only the differences are kept, so that a member it is given there is one here, too.
 */
export interface RoomChange {
  /** Made here: it is there without the configuration. */
  readonly made?: true;
  /** Taken away, although the configuration names it. */
  readonly gone?: true;
  readonly added: readonly Address[];
  readonly removed: readonly Address[];
  /** Of the added: asked whether they want to be, and without an answer yet. */
  readonly asked?: readonly Address[];
  readonly untold?: readonly Newcomer[];
  readonly open?: boolean;
}

/** What somebody wants a room to be, and what is known of those in it. */
export interface WantedRoom extends RoomSetting {
  /** Not members, although a token or a bridge would make them some. */
  readonly removed?: readonly Address[];
  /** Members by a token or a bridge: they need not be added. */
  readonly automatic?: readonly Address[];
  readonly asked?: readonly Address[];
  /** New ones that are to be told. */
  readonly untold?: readonly Newcomer[];
}

/** A room as it is in force. */
export interface RoomInForce {
  readonly members: readonly Address[];
  /** Not members, whatever else would make them one: a token, the configuration. */
  readonly removed: readonly Address[];
  /** Members who have not agreed yet: nothing of the room goes to them. */
  readonly asked: readonly Address[];
  readonly untold: readonly Newcomer[];
  readonly open: boolean;
  /** Whether the configuration names it. */
  readonly source: 'config' | 'api';
  /** Some of it is not as the configuration says. */
  readonly changed: boolean;
}

/** The room that comes of both; undefined where there is none. */
export function inForce(
  name: string,
  configured: RoomSetting | undefined,
  change: RoomChange | undefined,
): RoomInForce | undefined {
  const isThere = configured !== undefined || change?.made === true || isKept(name);
  if (!isThere || change?.gone === true) {
    return undefined;
  }
  const { added, removed, asked = [], untold = [], open } = change ?? nothing;
  const out = new Set(removed);
  const members = (configured?.members ?? []).filter(member => !out.has(member));
  return {
    members: [...new Set([...members, ...added])],
    removed,
    asked,
    untold,
    open: open ?? configured?.open ?? false,
    source: configured === undefined && !isKept(name) ? 'api' : 'config',
    changed: change !== undefined && change.made !== true && !asConfigured(change),
  };
}

const nothing: RoomChange = { added: [], removed: [] };

/** The change that makes of a configured room, or of none, what is wanted. */
export function changeTo(
  name: string,
  configured: RoomSetting | undefined,
  before: RoomChange | undefined,
  wanted: WantedRoom,
): RoomChange | undefined {
  const members = new Set(wanted.members);
  const given = new Set(configured?.members);
  const automatic = new Set(wanted.automatic);
  const removed = new Set([...(before?.removed ?? []), ...(wanted.removed ?? [])]);
  for (const member of given) {
    removed.add(member);
  }
  const open = wanted.open ?? false;
  const untold = [...(before?.untold ?? []), ...(wanted.untold ?? [])].filter(one =>
    members.has(one.address),
  );
  const added = [...members].filter(member => !given.has(member) && !automatic.has(member));
  const asked = (wanted.asked ?? []).filter(member => added.includes(member));
  const change: RoomChange = {
    ...(configured === undefined && !isKept(name) ? { made: true } : {}),
    added,
    // A made room is left by not being among the added; an app's token, or a bridge, may say otherwise.
    removed: [...removed].filter(
      one => !members.has(one) && (given.has(one) || schemeOf(one) === 'app' || isKept(name)),
    ),
    ...(asked.length === 0 ? {} : { asked }),
    ...(untold.length === 0 ? {} : { untold }),
    ...(open === (configured?.open ?? false) ? {} : { open }),
  };
  return unlessNothing(change);
}

/** The change once these have been told. */
export function withTold(change: RoomChange, keys: readonly string[]): RoomChange | undefined {
  const { untold = [], ...rest } = change;
  const left = untold.filter(({ key }) => !keys.includes(key));
  return unlessNothing(left.length === 0 ? rest : { ...rest, untold: left });
}

function unlessNothing(change: RoomChange): RoomChange | undefined {
  const isNothing = change.made !== true && change.untold === undefined && asConfigured(change);
  return isNothing ? undefined : change;
}

/** Whether it leaves a configured room what it is. */
function asConfigured({ gone, added, removed, open }: RoomChange): boolean {
  return gone !== true && added.length === 0 && removed.length === 0 && open === undefined;
}

/**
 * What is left of a change under a configuration that may be another one than when it was made: a room that went with the
 * configuration is gone, and what was taken away is forgotten once the configuration does not name it any more.
 */
export function carriedOver(
  name: string,
  configured: RoomSetting | undefined,
  change: RoomChange,
): RoomChange | undefined {
  if (isKept(name)) {
    return change;
  }
  if (configured === undefined) {
    // An app's removal stays: its token would make it a member again.
    return change.made === true
      ? { ...change, removed: change.removed.filter(one => schemeOf(one) === 'app') }
      : undefined;
  }
  if (change.gone === true) {
    return change;
  }
  return {
    ...change,
    removed: change.removed.filter(one => schemeOf(one) === 'app' || configured.members.includes(one)),
  };
}
