import { defaultLimits } from './gateway/limits.ts';
import type { FieldError } from './lib/errors.ts';
import { radioMistakes } from './radio/config.ts';
import { sharedInstanceInterface } from './radio/local-config.ts';

/** The keys of a config file as they were read. */
export type Tree = Record<string, unknown>;

const roomName = /^[a-z0-9][a-z0-9-]{0,31}$/;
/** Rooms that the hub keeps itself. */
const ownRooms = new Set(['hub', 'sensors']);

/**
 * What no single value shows. Checked on the raw tree, because a schema's own refinements are passed over
 * as soon as anything else is wrong, and every mistake is to be told at once.
 */
export function crossChecks(raw: Tree, base: string): FieldError[] {
  const mistakes: FieldError[] = [];
  const names = new Set<unknown>();
  const interfaces = Array.isArray(raw.interfaces) ? raw.interfaces : [];
  interfaces.forEach((entry: { name?: unknown } | null, index) => {
    const name = entry?.name;
    if (name !== undefined && names.has(name)) {
      mistakes.push({ pointer: `interfaces.${index}.name`, detail: `${show(name)} is wrong: used twice` });
    }
    names.add(name);
    mistakes.push(...sharedMistakes(entry as Tree | null, index, raw.sharedInstance));
    for (const { pointer, detail } of radioMistakes(entry, base)) {
      mistakes.push({ pointer: `interfaces.${index}.${pointer}`, detail });
    }
  });
  const rooms = Object.keys(raw.rooms ?? {});
  const residents = (raw as { bridges?: { lxmf?: { residents?: unknown } | null } | null }).bridges?.lxmf
    ?.residents;
  const most = typeof residents === 'number' ? residents : defaultLimits.residents;
  if (rooms.length > most) {
    mistakes.push({
      pointer: 'rooms',
      detail: `${rooms.length} rooms, and addresses for ${most}: bridges.lxmf.residents allows more`,
    });
  }
  for (const name of rooms) {
    if (ownRooms.has(name)) {
      mistakes.push({ pointer: `rooms.${name}`, detail: 'the hub keeps this room itself' });
    } else if (!roomName.test(name)) {
      mistakes.push({
        pointer: `rooms.${name}`,
        detail: 'a room has a name of lower-case letters, digits and hyphens, at most 32',
      });
    }
  }
  mistakes.push(...homelessMatrixAddresses(raw), ...unknownRooms(raw));
  return mistakes;
}

/** What an interface cannot be while programs of this machine use this node. */
function sharedMistakes(entry: Tree | null, index: number, given: unknown): FieldError[] {
  if (typeof given !== 'object' || given === null) {
    return [];
  }
  const own = given as { readonly name?: unknown; readonly port?: unknown };
  if (entry?.name === sharedInstanceInterface) {
    const detail = `${show(entry.name)} is wrong: sharedInstance is called that`;
    return [{ pointer: `interfaces.${index}.name`, detail }];
  }
  const { port: ownPort, name: ownName = ownPort === undefined ? 'default' : undefined } = own;
  const { port, instance = port === undefined ? 'default' : undefined } = entry ?? {};
  const isOwn = instance === undefined ? port === ownPort : instance === ownName;
  return entry?.kind === 'shared' && isOwn
    ? [{ pointer: `interfaces.${index}`, detail: 'that is the sharedInstance of this gateway itself' }]
    : [];
}

/** Rooms that a rule sends to and nobody made. */
function unknownRooms(raw: Tree): FieldError[] {
  const rules = Array.isArray(raw.routes) ? (raw.routes as (Tree | null)[]) : [];
  return rules.flatMap((rule, index) =>
    (Array.isArray(rule?.to) ? rule.to : []).flatMap((to: unknown, at) =>
      typeof to === 'string' && to.startsWith('room:') && !Object.hasOwn(raw.rooms ?? {}, to.slice(5))
        ? [
            {
              pointer: `routes.${index}.to.${at}`,
              detail: `${show(to)} is wrong: there is no such room in rooms`,
            },
          ]
        : [],
    ),
  );
}

/** Members and recipients in Matrix, where no homeserver is configured: nothing would ever reach them. */
function homelessMatrixAddresses(raw: Tree): FieldError[] {
  if ((raw.bridges as Tree | null | undefined)?.matrix !== undefined) {
    return [];
  }
  const lists = [
    ...Object.entries((raw.rooms ?? {}) as Tree).map(
      ([name, room]) => [`rooms.${name}.members`, (room as Tree | null)?.members] as const,
    ),
    ...(Array.isArray(raw.routes) ? raw.routes : []).map(
      (rule: Tree | null, index) => [`routes.${index}.to`, rule?.to] as const,
    ),
  ];
  return lists.flatMap(([pointer, list]) =>
    (Array.isArray(list) ? list : []).flatMap((address, index) =>
      typeof address === 'string' && address.startsWith('matrix:')
        ? [
            {
              pointer: `${pointer}.${index}`,
              detail: `${show(address)} needs bridges.matrix: see docs/matrix.md`,
            },
          ]
        : [],
    ),
  );
}

/** A value as it may stand in an error: short, and never a secret, because secrets only come by file name. */
export function show(value: unknown): string | undefined {
  const text = JSON.stringify(value);
  return text !== undefined && text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
