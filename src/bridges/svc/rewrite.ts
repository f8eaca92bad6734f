import type { Fields } from '../../gateway/replicas/fields.ts';

/** Where the service is for its client, and for us. */
export interface Places {
  /** Of the service: origin and base path. */
  readonly base: URL;
  /** Before its paths here: `/svc/notes`. */
  readonly prefix: string;
  /** Whether the client speaks TLS to us. */
  readonly secure: boolean;
}

/**
 * What a service says of its whole origin: here that is the gateway's, with its own log-in and the other services.
 *
 * Source: W3C Clear Site Data §3; W3C Service Workers, Service-Worker-Allowed.
 */
const ofOrigin: ReadonlySet<string> = new Set(['clear-site-data', 'service-worker-allowed']);

/**
 * The header fields of an answer with every place of the service in them as the client reaches it: redirects,
 * links and the paths of cookies; without those about its whole origin. What lies elsewhere stays as it is, and so do
 * bodies.
 *
 * Source: RFC 9110 §10.2.2, §8.7; RFC 8288 §3; RFC 6265 §4.1.2.
 */
export function rewritten(fields: Fields, places: Places): Fields {
  const own = fields.filter(([name]) => !ofOrigin.has(name.toLowerCase()));
  return own.map(([name, value]) => {
    switch (name.toLowerCase()) {
      case 'location':
      case 'content-location':
        return [name, reference(value, places)];
      case 'link':
        return [name, value.replace(/<([^<>]*)>/g, (_, target: string) => `<${reference(target, places)}>`)];
      case 'refresh':
        return [
          name,
          value.replace(/(url=)(\S+)/i, (_, key: string, target: string) => key + reference(target, places)),
        ];
      case 'set-cookie':
        return [name, cookie(value, places)];
      default:
        return [name, value];
    }
  });
}

/** A URL of the service as a path here; a relative one works as it is. */
function reference(text: string, { base, prefix }: Places): string {
  const rooted = text.startsWith('/') && !text.startsWith('//');
  const absolute = rooted
    ? URL.parse(text, base)
    : URL.parse(text.startsWith('//') ? base.protocol + text : text);
  if (absolute === null || absolute.host !== base.host || !/^https?:$/.test(absolute.protocol)) {
    return text;
  }
  const root = base.pathname.replace(/\/+$/, '');
  // From the text, so that nothing is spelled anew.
  const path = rooted ? text : text.replace(/^(?:https?:)?\/\/[^/?#]*/i, '');
  return below(path, root) ? prefix + (path.slice(root.length) || '/') : text;
}

function below(path: string, root: string): boolean {
  return path.startsWith(root) && (path.length === root.length || '/?#'.includes(path[root.length] ?? '/'));
}

/** A cookie for the client's way to the service: its own path, this host, and no TLS where there is none. */
function cookie(value: string, { base, prefix, secure }: Places): string {
  const root = base.pathname.replace(/\/+$/, '');
  const [pair = '', ...attributes] = value.split(';');
  const kept = attributes.flatMap(attribute => {
    const [name = '', setting = ''] = attribute.split('=').map(part => part.trim());
    switch (name.toLowerCase()) {
      case 'domain':
        return [];
      case 'secure':
        return secure ? [attribute] : [];
      case 'samesite':
        return !secure && setting.toLowerCase() === 'none' ? [] : [attribute];
      case 'path':
        return [
          ` Path=${below(setting, root) ? prefix + (setting.slice(root.length) || '/') : `${prefix}/`}`,
        ];
      default:
        return [attribute];
    }
  });
  return [pair, ...kept].join(';');
}
