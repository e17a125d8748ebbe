"use strict";

// The page is served with a content security policy that allows no inline scripts, hence this file.
const show = (samples) => {
  window.ui = SwaggerUIBundle({
    // Relative to the page, which a reverse proxy may serve below a path.
    url: "openapi.json",
    dom_id: "#swagger-ui",
    presets: [SwaggerUIBundle.presets.apis],
    plugins: [facetSamples(samples), facetSubtrees],
    layout: "BaseLayout",
    deepLinking: true,
    defaultModelsExpandDepth: 0,
    displayRequestDuration: true,
    docExpansion: "list",
    filter: true,
    persistAuthorization: true,
    requestSnippetsEnabled: true,
    tryItOutEnabled: true,
    validatorUrl: null,
  });
};

fetch("docs/samples")
  .then((answer) => (answer.ok ? answer.json() : {}))
  .catch(() => ({}))
  .then(show);
