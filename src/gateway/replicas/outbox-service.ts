import type { ReplicaHost } from './contract.ts';
import type { ReplicaDefinition, Resource } from './definition.ts';
import { type ApiDocument, type Described, openDocument } from './document.ts';
import { compilePolicies, type Policies, type ResourceMatch } from './policy.ts';
import type { ItemShape } from './projection-fold.ts';

/** What the write side knows of a service: its definition, compiled once. */
export interface WriteService {
  readonly definition: ReplicaDefinition;
  readonly policies: Policies;
  describe(method: string, path: string): Described | undefined;
  shapeOf(match: ResourceMatch): ItemShape;
  /** A path as the origin names it: below the path of its URL. */
  originPath(path: string): string;
}

/** Looks a service up; undefined where there is none of this id. */
export type WriteServices = (service: string) => WriteService | undefined;

export function compileServices(host: Pick<ReplicaHost, 'definition'>): WriteServices {
  const compiled = new WeakMap<ReplicaDefinition, WriteService>();
  return service => {
    const definition = host.definition(service);
    return definition === undefined
      ? undefined
      : compiled.getOrInsertComputed(definition, () => compileService(definition));
  };
}

function compileService(definition: ReplicaDefinition): WriteService {
  const policies = compilePolicies(definition);
  let document: ApiDocument | undefined;
  const describe = (method: string, path: string) => {
    if (definition.document === undefined) {
      return undefined;
    }
    document ??= openDocument(definition.document);
    return document.describe(method, path);
  };
  const prefix = new URL(definition.upstream.url).pathname.replace(/\/$/, '');
  return {
    definition,
    policies,
    describe,
    shapeOf: match => shapeOf(match.resource, describe('GET', match.resource.item)?.readOnly ?? []),
    originPath: path => `${prefix}${path}`,
  };
}

function shapeOf({ id, stamps, template }: Resource, kept: readonly string[]): ItemShape {
  return {
    id: id.pointer,
    integerId: id.type === 'integer',
    template,
    kept,
    ...(stamps.created !== undefined && { created: stamps.created }),
    ...(stamps.updated !== undefined && { updated: stamps.updated }),
  };
}

/** The path without its query. */
export function bare(path: string): string {
  const query = path.indexOf('?');
  return query < 0 ? path : path.slice(0, query);
}

/** The path of the list an item or a list path belongs to. */
export function collectionOf(path: string, match: ResourceMatch): string {
  const own = bare(path);
  return match.kind === 'collection' ? own : own.slice(0, own.lastIndexOf('/'));
}
