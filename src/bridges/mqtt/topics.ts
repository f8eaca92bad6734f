/** What a topic of the tree `kos/v1/{hub}/…` stands for. */
export type Topic =
  | { readonly kind: 'tx'; readonly destination: string }
  | { readonly kind: 'rx' | 'status' | 'announce' | 'err' }
  | { readonly kind: 'hub' }
  | { readonly kind: 'device'; readonly device: string; readonly leaf: string }
  /** Outside the tree: what a `mqtt:` address names that is no device. */
  | { readonly kind: 'literal' }
  /** Inside `kos/` or `$`, and without a meaning. */
  | { readonly kind: 'unknown' };

/** The topic tree of one hub. */
export interface Topics {
  /** `kos/v1/{hub}`, {hub} being the first 8 hex digits of the hub's identity hash. */
  readonly root: string;
  readonly state: string;
  readonly info: string;
  readonly announce: string;
  readonly err: string;
  rx(destination: string): string;
  status(messageId: string): string;
  device(name: string, leaf: string): string;
  parse(topic: string): Topic;
}

const devicePattern = /^[a-z0-9-]{1,32}$/;
const destinationPattern = /^[0-9a-f]{32}$/;

/** The tree of the hub with this identity hash. */
export function topicsOf(hub: string): Topics {
  const root = `kos/v1/${hub.slice(0, 8)}`;
  return {
    root,
    state: `${root}/state`,
    info: `${root}/info`,
    announce: `${root}/mesh/announce`,
    err: `${root}/err`,
    rx: destination => `${root}/mesh/${destination}/rx`,
    status: id => `${root}/mesh/status/${id}`,
    device: (name, leaf) => `${root}/dev/${name}/${leaf}`,
    parse(topic) {
      if (!isReserved(topic)) {
        return { kind: 'literal' };
      }
      if (!topic.startsWith(`${root}/`)) {
        return { kind: 'unknown' };
      }
      return parseBranch(topic.slice(root.length + 1).split('/'));
    },
  };
}

function parseBranch(levels: readonly string[]): Topic {
  const [branch = '', second = '', ...rest] = levels;
  const leaf = rest.join('/');
  switch (branch) {
    case 'mesh':
      if (leaf === 'tx' && destinationPattern.test(second)) {
        return { kind: 'tx', destination: second };
      }
      if (leaf === 'rx') {
        return { kind: 'rx' };
      }
      if (second === 'status' && rest.length === 1) {
        return { kind: 'status' };
      }
      return second === 'announce' && rest.length === 0 ? { kind: 'announce' } : { kind: 'unknown' };
    case 'dev':
      return devicePattern.test(second) && leaf !== ''
        ? { kind: 'device', device: second, leaf }
        : { kind: 'unknown' };
    case 'err':
      return levels.length === 1 ? { kind: 'err' } : { kind: 'unknown' };
    case 'state':
    case 'info':
      return levels.length === 1 ? { kind: 'hub' } : { kind: 'unknown' };
    case 'link':
      return levels.length === 2 ? { kind: 'hub' } : { kind: 'unknown' };
    default:
      return { kind: 'unknown' };
  }
}

/** Whether the name belongs to the hub or to the broker: `kos` and `$…`. */
function isReserved(topic: string): boolean {
  return topic === 'kos' || topic.startsWith('kos/') || topic.startsWith('$');
}

/** Whether a valid filter matches a topic name (MQTT 3.1.1 §4.7: `#` also matches its parent, wildcards never a leading `$`). */
export function matches(filter: string, topic: string): boolean {
  if (topic.startsWith('$') && (filter.startsWith('#') || filter.startsWith('+'))) {
    return false;
  }
  const names = topic.split('/');
  const levels = filter.split('/');
  for (const [index, level] of levels.entries()) {
    if (level === '#') {
      return true;
    }
    if (index >= names.length || (level !== '+' && level !== names[index])) {
      return false;
    }
  }
  return levels.length === names.length;
}

/** Whether there is a topic that both filters match. */
export function overlap(one: string, other: string): boolean {
  const a = one.split('/');
  const b = other.split('/');
  for (let index = 0; ; index++) {
    const left = a[index];
    const right = b[index];
    if (left === '#' || right === '#') {
      return true;
    }
    if (left === undefined || right === undefined) {
      return left === right;
    }
    if (left !== '+' && right !== '+' && left !== right) {
      return false;
    }
  }
}

/** Whether a filter can match a topic outside the tree. */
export function reachesLiterals(filter: string): boolean {
  return !isReserved(filter);
}
