import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

import react from '@vitejs/plugin-react';
import { defineConfig, loadEnv } from 'vite';

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

export default defineConfig(({ mode }) => {
  // While developing: `make run` in one terminal, `npm run dev` in another.
  const { STACK: stack = 'http://localhost:8080' } = loadEnv(mode, import.meta.dirname, 'STACK');
  return {
    plugins: [react(), gzip],
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
