import type { Commands } from '../command.ts';
import { commands as announces } from './announces.ts';
import { commands as buffers } from './buffers.ts';
import { commands as channels } from './channels.ts';
import { commands as ifac } from './ifac.ts';
import { commands as kinds } from './kinds.ts';
import { commands as linkInjectors } from './link-injectors.ts';
import { commands as linkMaking } from './link-making.ts';
import { commands as links } from './links.ts';
import { commands as listeners } from './listeners.ts';
import { stopAll } from './node.ts';
import { commands as packets } from './packets.ts';
import { commands as posture } from './posture.ts';
import { commands as proofs } from './proofs.ts';
import { commands as ratchets } from './ratchets.ts';
import { commands as remembered } from './remembered.ts';
import { commands as requests } from './requests.ts';
import { commands as resourceInjectors } from './resource-injectors.ts';
import { commands as resourceStates } from './resource-states.ts';
import { commands as resources } from './resources.ts';
import { commands as start } from './start.ts';

/** The commands that speak over real sockets: every file of this folder adds its own here. */
export const commands: Commands = {
  ...start,
  ...announces,
  ...listeners,
  ...links,
  ...requests,
  ...packets,
  ...ratchets,
  ...proofs,
  ...ifac,
  ...linkMaking,
  ...linkInjectors,
  ...resources,
  ...resourceInjectors,
  ...resourceStates,
  ...channels,
  ...buffers,
  ...kinds,
  ...posture,
  ...remembered,
};

export const close = stopAll;
