import type { ReplicaDefinition } from './definition.ts';
import { compilePolicies, operationsOf, type WritePolicy } from './policy.ts';

/** What holds for one operation of a service, in words and numbers for people and programs. */
export interface PolicyRow {
  readonly methods: readonly string[];
  readonly path: string;
  readonly operationId?: string;
  readonly stream: boolean;
  /** Of reads: what happens online and offline. Times in ms. */
  readonly read?: {
    readonly mode: string;
    readonly fresh: 'upstream' | number;
    readonly patience: number;
    readonly staleIfError: number;
    readonly offline: number;
    readonly override: readonly string[];
  };
  /** Of writes. */
  readonly write?: {
    readonly offline: 'rejected' | 'queued';
    readonly repeats: string;
    readonly conflict?: string;
  };
}

const reading = ['GET', 'HEAD'];
const writing = ['POST', 'PUT', 'PATCH', 'DELETE'];

/** The effective policy of every operation that is known: of the OpenAPI document, the routes, the resources, and the rest. */
export function policyTable(definition: ReplicaDefinition): readonly PolicyRow[] {
  const policies = compilePolicies(definition);
  const asked: { methods: readonly string[]; path: string; operationId?: string }[] = [];
  for (const [name, { method, path }] of operationsOf(definition.document)) {
    asked.push({ methods: [method], path, ...(!name.includes(' ') && { operationId: name }) });
  }
  if (asked.length === 0) {
    for (const { match } of definition.routes) {
      const methods = match.methods ?? [...reading, ...writing];
      for (const some of [methods.filter(isRead), methods.filter(each => !isRead(each))]) {
        if (some.length > 0 && match.path !== undefined) {
          asked.push({ methods: some, path: match.path });
        }
      }
    }
    for (const { collection, item } of definition.resources) {
      asked.push({ methods: reading, path: collection }, { methods: ['POST'], path: collection });
      asked.push({ methods: reading, path: item }, { methods: ['PUT', 'PATCH', 'DELETE'], path: item });
    }
    asked.push({ methods: reading, path: '/**' }, { methods: writing, path: '/**' });
  }
  const seen = new Set<string>();
  return asked.flatMap(({ methods, path, operationId }) =>
    methods.filter(method => !seen.has(`${method} ${path}`)).length === 0
      ? []
      : [
          row(
            methods.filter(method => take(seen, `${method} ${path}`)),
            path,
            operationId,
          ),
        ],
  );

  function row(methods: readonly string[], path: string, operationId: string | undefined): PolicyRow {
    const { read, write, stream } = policies.of(methods[0] ?? 'GET', path.replace('/**', '/any/thing/else'));
    const { mode, fresh, patience, staleIfError, offline, override } = read;
    return {
      methods,
      path,
      ...(operationId !== undefined && { operationId }),
      stream,
      ...(methods.some(isRead)
        ? { read: { mode, fresh, patience, staleIfError, offline, override } }
        : {
            write:
              write.mode === 'reject'
                ? { offline: 'rejected' as const, repeats: 'never sent twice by the gateway' }
                : {
                    offline: 'queued' as const,
                    repeats: repeatsOf(methods, write),
                    conflict: write.conflict,
                  },
          }),
    };
  }
}

/** What keeps a queued write from being done twice, the best there is. */
function repeatsOf(methods: readonly string[], write: WritePolicy): string {
  if (write.idempotency.by !== 'none') {
    return 'the service knows a repeat by its key';
  }
  if (write.precondition === 'if-match' && !methods.includes('POST')) {
    return 'a repeat fails its condition';
  }
  if (write.onAmbiguous === 'probe') {
    return 'looked up before it is sent again';
  }
  return write.onAmbiguous === 'retry' ? 'may be done twice' : 'held for a person where nobody knows';
}

function isRead(method: string): boolean {
  return reading.includes(method);
}

function take(seen: Set<string>, key: string): boolean {
  return seen.has(key) ? false : seen.add(key) !== undefined;
}
