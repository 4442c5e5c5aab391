import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

import react from '@vitejs/plugin-react';
import { defineConfig, type HtmlTagDescriptor, loadEnv, type Plugin } from 'vite';

/** Beside each text its gzip, which the local front serves; CloudFront makes its own. */
const gzip = {
  name: 'gzip',
  apply: 'build' as const,
  closeBundle() {
    const dist = `${import.meta.dirname}/dist`;
    for (const name of readdirSync(dist, { recursive: true, encoding: 'utf8' })) {
      if (!/\.(js|css|html|svg)$/.test(name)) continue;
      const file = `${dist}/${name}`;
      writeFileSync(`${file}.gz`, gzipSync(readFileSync(file), { level: 9 }));
    }
  },
};

/**
 * The application is fetched while the login goes on. On the way to the issuer too: whoever comes
 * back from there finds it in the cache.
 */
const preloadApp: Plugin = {
  name: 'preload-app',
  transformIndexHtml: {
    order: 'post',
    handler(_, { bundle = {} }) {
      // After what the login itself asks for.
      const later = { crossorigin: true, fetchpriority: 'low' };
      const chunks = Object.values(bundle).filter((one) => one.type === 'chunk' && !one.isEntry);
      const app = chunks.find((chunk) => chunk.name === 'app');
      const parts = chunks.filter((one) => one === app || app?.imports.includes(one.fileName));
      const tags: HtmlTagDescriptor[] = parts.map(({ fileName }) => ({
        tag: 'link',
        attrs: { rel: 'modulepreload', href: `/${fileName}`, ...later },
        injectTo: 'head',
      }));
      for (const style of app?.viteMetadata?.importedCss ?? []) {
        tags.push({
          tag: 'link',
          attrs: { rel: 'preload', as: 'style', href: `/${style}`, ...later },
          injectTo: 'head',
        });
      }
      return tags;
    },
  },
};

export default defineConfig(({ mode }) => {
  // While developing: `make run` in one terminal, `npm run dev` in another.
  const { STACK: stack = 'http://localhost:8080' } = loadEnv(mode, import.meta.dirname, 'STACK');
  return {
    plugins: [react(), preloadApp, gzip],
    build: {
      target: 'es2022',
      chunkSizeWarningLimit: 600,
      // A data: URL would need an exception in the content security policy.
      assetsInlineLimit: 0,
      // The browsers we build for preload modules themselves.
      modulePreload: { polyfill: false },
    },
    server: {
      proxy: { '/v1': stack, '/oidc': stack, '/config.json': stack },
    },
  };
});
