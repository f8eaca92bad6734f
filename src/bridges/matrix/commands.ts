import type { BridgePort } from '../../gateway/bridge.ts';
import type { Desk } from '../../gateway/desk.ts';
import type { Address } from '../../gateway/message.ts';
import { isGatewayError } from '../../lib/errors.ts';
import type { RoomEvent } from './events.ts';
import type { Ghosts } from './ghosts.ts';
import { ghostOf, matchesAny } from './mxid.ts';
import type { Notices } from './notices.ts';
import type { Rooms } from './rooms.ts';
import { bridgeClient } from './statuses.ts';

export interface CommandsParts {
  readonly desk: () => Pick<Desk, 'hub' | 'health' | 'directory'>;
  readonly ghosts: Ghosts;
  readonly rooms: Rooms;
  readonly notices: Notices;
  readonly serverName: string;
  readonly allowed: readonly string[];
}

/** What people can ask the bot in a direct chat. */
export interface Commands {
  greeting(room: string): string;
  run(port: BridgePort, room: string, event: RoomEvent, line: string): Promise<void>;
}

const help = [
  'help – this',
  'status – how the gateway and its parts are',
  'peers [word] – who was heard on the mesh, and the user to invite for each',
  'chat lxmf:ADDRESS – open a direct chat with a mesh peer',
  'identity on | off – have an address of your own on the mesh, under which peers write to you; or give it up',
].join('\n');

const mostPeers = 30;

export function createCommands(parts: CommandsParts): Commands {
  const { ghosts, rooms, notices, serverName } = parts;

  async function answer(port: BridgePort, event: RoomEvent, line: string): Promise<string> {
    const [word = '', ...rest] = line.trim().split(/\s+/);
    if (!matchesAny(event.sender, parts.allowed)) {
      return 'This gateway is not open to you.';
    }
    switch (word.replace(/^!/, '').toLowerCase()) {
      case 'help':
      case '':
        return help;
      case 'status':
        return status();
      case 'peers':
        return peers(rest[0]);
      case 'chat':
        return await chat(event.sender, rest[0] ?? '');
      case 'identity':
        return await identity(port, event.sender, rest[0]?.toLowerCase());
      default:
        return `${word.slice(0, 40)}: no such command.\n${help}`;
    }
  }

  function status(): string {
    const health = parts.desk().health();
    const lines = health.services.map(
      ({ name, state, reason }) => `${name}: ${state}${reason === undefined ? '' : ` (${reason})`}`,
    );
    return [
      `${parts.desk().hub.name}: ${health.ready ? 'ready' : 'not ready'}, lxmf:${parts.desk().hub.lxmf}`,
      ...lines,
      `waiting deliveries: ${health.queued}`,
    ].join('\n');
  }

  function peers(search: string | undefined): string {
    const { items, cursor } = parts.desk().directory.list(bridgeClient, {
      limit: mostPeers,
      ...(search === undefined ? {} : { search }),
    });
    const lines = items.map(
      ({ address, name }) => `${name ?? '?'} – ${address} – @${ghostOf(address)}:${serverName}`,
    );
    return lines.length === 0
      ? 'Nobody yet.'
      : [...lines, ...(cursor === null ? [] : ['… and more: peers WORD looks for a word'])].join('\n');
  }

  async function chat(person: string, given: string): Promise<string> {
    const address: Address = /^[0-9a-f]{32}$/i.test(given) ? `lxmf:${given.toLowerCase()}` : given;
    if (!/^lxmf:[0-9a-f]{32}$/.test(address)) {
      return 'chat lxmf:ADDRESS, where ADDRESS has 32 hex digits: peers shows whom there is.';
    }
    await rooms.direct(await ghosts.ensure(address), person);
    return `You are invited to a chat with ${address}.`;
  }

  async function identity(port: BridgePort, person: string, wanted: string | undefined): Promise<string> {
    const party: Address = `matrix:${person}`;
    if (wanted === 'on') {
      await port.host(party, { name: port.nameOf(party) });
    } else if (wanted === 'off') {
      await port.host(party, undefined);
    } else if (wanted !== undefined) {
      return 'identity on, or identity off.';
    }
    const resident = port.residentOf(party);
    return resident === undefined
      ? 'You have no address of your own on the mesh. identity on gives you one.'
      : `On the mesh you are ${resident.name}, ${resident.addresses.join(', ')}: peers that write there write to you.`;
  }

  return {
    greeting: () => `This is the gateway ${parts.desk().hub.name}. Say what you want:\n${help}`,
    async run(port, room, event, line) {
      let text: string;
      try {
        text = await answer(port, event, line);
      } catch (error) {
        if (!isGatewayError(error)) {
          throw error;
        }
        text = `That did not work: ${error.message}`;
      }
      await notices.say(room, rooms.bot, `answer ${event.id}`, text, event.id);
    },
  };
}
