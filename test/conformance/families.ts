import type { Command, Family } from './command.ts';

/*
 * Which file has which command: by the beginning of its name, the first that fits. A file is loaded with the first
 * command that asks for it, because the suite starts a process of its own for almost every test.
 */
const families: readonly (readonly [RegExp, () => Promise<Family>])[] = [
  [/^wire_/, () => import('./wire/family.ts')],
  [/^behavioral_/, () => import('./commands/behavioral.ts')],
  [/^discovery_/, () => import('./commands/discovery.ts')],
  [/^identity_/, () => import('./commands/identity.ts')],
  [/^(?:destination_|app_and_aspects|hash_from_name)/, () => import('./commands/destination.ts')],
  [/^packet_/, () => import('./commands/packet.ts')],
  [/^announce_/, () => import('./commands/announce.ts')],
  [/^ratchet_/, () => import('./commands/ratchet.ts')],
  [/^token_/, () => import('./commands/token.ts')],
  [/^(?:interface_|auto_discovery)/, () => import('./commands/interface.ts')],
  [/^config_/, () => import('./commands/config.ts')],
  [/^(?:hdlc_|kiss_)/, () => import('./commands/framing.ts')],
  [/./, () => import('./commands/crypto.ts')],
];

const loaded = new Map<number, Family>();

/** The command of this name; undefined when no family has it. */
export async function commandNamed(name: string): Promise<Command | undefined> {
  const index = families.findIndex(([pattern]) => pattern.test(name));
  const family = await familyAt(index);
  return family !== undefined && Object.hasOwn(family.commands, name) ? family.commands[name] : undefined;
}

/** Every command that is registered, in the order of the alphabet. */
export async function commandNames(): Promise<readonly string[]> {
  const all = await Promise.all(families.map((_, index) => familyAt(index)));
  return all.flatMap(family => Object.keys(family?.commands ?? {})).sort();
}

/** Ends what the families that were loaded left running. */
export async function closeFamilies(): Promise<void> {
  await Promise.allSettled([...loaded.values()].map(family => family.close?.()));
}

async function familyAt(index: number): Promise<Family | undefined> {
  const family = loaded.get(index) ?? (await families[index]?.[1]());
  if (family !== undefined) loaded.set(index, family);
  return family;
}
