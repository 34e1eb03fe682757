// Text as markdown or HTML, made by the renderer of @grafana/data.

import { type PanelProps, renderTextPanelMarkdown } from "@grafana/data";

import { pluginOf } from "./plugin";

interface Options {
  mode: "markdown" | "html" | "code";
  content: string;
}

function Text({ options, replaceVariables }: PanelProps<Options>) {
  const content = replaceVariables(options.content);
  const html = options.mode === "markdown" ? renderTextPanelMarkdown(content) : content;
  return <div className="markdown-html" dangerouslySetInnerHTML={{ __html: html }} />;
}

export const text = pluginOf<Options, object>({
  id: "text",
  panel: Text,
  options: { mode: "markdown", content: "" },
  custom: {},
});
