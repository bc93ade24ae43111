import { getYaml } from "../../api/client";

/** Saves the YAML form of a version as a file. */
export async function download(path: string, version: number): Promise<void> {
  const text = await getYaml(path);
  const address = URL.createObjectURL(new Blob([text], { type: "application/yaml" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = `policy-${version}.yaml`;
  link.click();
  URL.revokeObjectURL(address);
}
