import type { MemberState, RoomDetail } from '../gateway/society-contract.ts';
import { ask, type Call, type Command, print, printable, usage } from './call.ts';

/** Shows and changes rooms in a running gateway. */
export const roomCommands: readonly (readonly [string, Command])[] = [
  ['room list', { words: '', does: 'rooms and how many are in them', run: listRooms }],
  ['room show', { words: 'NAME', does: 'who is in a room, and what does not reach them', run: showRoom }],
  ['room add', { words: 'NAME [MEMBER…] [--open]', does: 'make a room', run: addRoom }],
  ['room remove', { words: 'NAME', does: 'take a room away', run: removeRoom }],
  [
    'room join',
    {
      words: 'NAME ADDRESS [--agreed]',
      does: 'add a member; somebody on the mesh is asked, unless they have --agreed',
      run: joinRoom,
    },
  ],
  ['room leave', { words: 'NAME ADDRESS', does: 'take a member out', run: leaveRoom }],
  ['room reset', { words: 'NAME', does: 'forget what was changed beside the config file', run: resetRoom }],
];

async function listRooms(c: Call): Promise<number> {
  const { items } = (await ask(c, 'GET', '/v1/rooms')).body as { items: RoomDetail[] };
  const lines = items.map(
    ({ name, members, open, source, changed, addresses }) =>
      `${name.padEnd(32)}  ${String(members.length).padStart(3)} in it  ${source}${changed ? ', changed' : ''}${open ? ', open' : ''}  ${addresses.join(' ')}`,
  );
  return print(c, items, lines.join('\n'));
}

async function showRoom(c: Call): Promise<number> {
  return tellRoom(c, (await ask(c, 'GET', roomPath(c, 'show NAME'))).body as RoomDetail);
}

async function addRoom(c: Call): Promise<number> {
  const [name, ...members] = c.words;
  if (name === undefined) {
    usage('room add NAME [MEMBER…] [--open]');
  }
  const { body } = await ask(c, 'POST', '/v1/rooms', { name, members, open: c.options.open === true });
  return tellRoom(c, body as RoomDetail);
}

async function removeRoom(c: Call): Promise<number> {
  await ask(c, 'DELETE', roomPath(c, 'remove NAME'));
  return print(c, { removed: c.words[0] }, `${c.words[0]} is gone`);
}

async function joinRoom(c: Call): Promise<number> {
  const agreed = c.options.agreed === true ? '?consent=given' : '';
  const { body } = await ask(c, 'PUT', `${memberPath(c, 'join')}${agreed}`);
  return tellRoom(c, body as RoomDetail);
}

async function leaveRoom(c: Call): Promise<number> {
  await ask(c, 'DELETE', memberPath(c, 'leave'));
  return print(c, { removed: c.words[1] }, `${c.words[1]} is not in ${c.words[0]} any more`);
}

async function resetRoom(c: Call): Promise<number> {
  await ask(c, 'POST', `${roomPath(c, 'reset NAME')}/reset`);
  return print(c, { reset: c.words[0] }, `${c.words[0]} is as in the config file`);
}

function roomPath(c: Call, words: string): string {
  const [name] = c.words;
  if (name === undefined) {
    usage(`room ${words}`);
  }
  return `/v1/rooms/${encodeURIComponent(name)}`;
}

function memberPath(c: Call, verb: string): string {
  const [, address] = c.words;
  if (address === undefined) {
    usage(`room ${verb} NAME ADDRESS`);
  }
  return `${roomPath(c, verb)}/members/${encodeURIComponent(address)}`;
}

function tellRoom(c: Call, room: RoomDetail): Promise<number> {
  const about = ({ address, name, source, consent, blocked, trouble }: MemberState) =>
    [
      `  ${address}`,
      printable(name ?? ''),
      source,
      ...(consent === undefined ? [] : [consent]),
      ...(blocked === true ? ['blocked'] : []),
      ...(trouble === undefined
        ? []
        : [printable(`${trouble.state}: ${trouble.reason ?? trouble.code ?? ''}`)]),
    ]
      .filter(word => word !== '')
      .join('  ');
  const head = `${room.name}  ${room.source}${room.changed ? ', changed' : ''}${room.open ? ', open' : ''}  ${room.addresses.join(' ')}`;
  return print(c, room, [head, ...room.memberStates.map(about)].join('\n'));
}
