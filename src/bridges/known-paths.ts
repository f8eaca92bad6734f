import type { FastifyInstance } from 'fastify';

/** Which methods a path has, from the routes that were registered, whoever did, but for those that are `unlisted`. */
export function knownPaths(app: FastifyInstance): (path: string) => readonly string[] {
  const paths = new Map<string, { readonly pattern: RegExp; readonly methods: Set<string> }>();
  app.addHook('onRoute', ({ url, method, config }) => {
    if ((config as { unlisted?: boolean } | undefined)?.unlisted === true) {
      return;
    }
    const pattern = url
      .split('/')
      .map(step => (step.startsWith(':') ? '[^/]+' : step === '*' ? '.*' : RegExp.escape(step)));
    const entry = paths.getOrInsertComputed(url, () => ({
      pattern: new RegExp(`^${pattern.join('/')}$`),
      methods: new Set(),
    }));
    for (const name of [method].flat()) {
      entry.methods.add(name);
    }
  });
  return path =>
    [
      ...new Set(
        paths
          .values()
          .filter(({ pattern }) => pattern.test(path))
          .flatMap(({ methods }) => methods),
      ),
    ].sort();
}
