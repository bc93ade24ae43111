/**
 * Draws a node's disc or rounded square with its ring: solid, dashed or with an outer rim, smooth
 * at every zoom (the shape is a distance, computed for each pixel).
 */
import { NodeProgram, type ProgramInfo } from "sigma/rendering";
import type { NodeDisplayData, RenderParams } from "sigma/types";
import { floatColor } from "sigma/utils";

/** What the program draws, besides what sigma knows of a node. */
export interface DiscData {
  ring: string;
  /** Colour of the thin line around the ring; the ring's own where there is none. */
  rim: string;
  halo: string;
  /** Strength of the halo, 0 to 1. */
  glow: number;
  square: boolean;
  dashed: boolean;
  /** Width of the ring in map units. */
  ringWidth: number;
  alpha: number;
}

const FLOAT = WebGLRenderingContext.FLOAT;
const UNSIGNED_BYTE = WebGLRenderingContext.UNSIGNED_BYTE;

const VERTEX = /*glsl*/ `
attribute vec2 a_corner;
attribute vec2 a_position;
attribute vec4 a_id;
attribute vec4 a_fill;
attribute vec4 a_ring;
attribute vec4 a_rim;
attribute vec4 a_halo;
attribute vec4 a_look;
attribute vec2 a_more;

uniform mat3 u_matrix;
uniform float u_unit;
uniform float u_pixelRatio;
uniform float u_world;

varying vec2 v_spot;
varying vec4 v_fill;
varying vec4 v_ring;
varying vec4 v_rim;
varying vec4 v_halo;
varying vec4 v_look;
varying vec2 v_more;
varying float v_pixel;

const float reach = 1.7;

void main() {
  float radius = a_look.x;
  v_spot = a_corner * radius * reach;
  gl_Position = vec4((u_matrix * vec3(a_position + v_spot / u_world, 1.0)).xy, 0.0, 1.0);
  v_pixel = u_unit / u_pixelRatio;
  #ifdef PICKING_MODE
  v_fill = a_id;
  #else
  v_fill = a_fill;
  #endif
  v_ring = a_ring;
  v_rim = a_rim;
  v_halo = a_halo;
  v_look = a_look;
  v_more = a_more;
}
`;

const FRAGMENT = /*glsl*/ `
precision highp float;
varying vec2 v_spot;
varying vec4 v_fill;
varying vec4 v_ring;
varying vec4 v_rim;
varying vec4 v_halo;
varying vec4 v_look;
varying vec2 v_more;
varying float v_pixel;

const float dashes = 14.0;
const float turn = 6.2831853;

float cover(float distance) {
  return clamp(0.5 - distance / v_pixel, 0.0, 1.0);
}

void main() {
  float radius = v_look.x;
  float ringWidth = v_look.y;
  float square = v_look.z;
  float dashed = v_look.w;
  float alpha = v_more.x;
  float glow = v_more.y;

  float circle = length(v_spot) - radius;
  float corner = radius * 0.42;
  vec2 q = abs(v_spot) - (radius * 0.94 - corner);
  float box = length(max(q, 0.0)) + min(max(q.x, q.y), 0.0) - corner;
  float distance = mix(circle, box, square);

  #ifdef PICKING_MODE
  if (distance > 2.0) discard;
  gl_FragColor = v_fill;
  gl_FragColor.a = 1.0;
  #else
  float rimWidth = 1.6;
  vec3 color = v_fill.rgb;
  float ringAt = cover(-(distance + ringWidth));
  if (dashed > 0.5) {
    float part = fract(atan(v_spot.y, v_spot.x) / turn * dashes);
    float gap = smoothstep(0.56, 0.6, part) * (1.0 - smoothstep(0.96, 1.0, part));
    ringAt *= 1.0 - gap;
  }
  color = mix(color, v_ring.rgb, ringAt);
  color = mix(color, v_rim.rgb, cover(-(distance + rimWidth)) * step(0.5, v_rim.a));
  float inside = cover(distance);
  float halo = glow * (1.0 - smoothstep(0.0, radius * 0.6, distance)) * 0.55;
  float outer = halo * (1.0 - inside);
  float whole = alpha * (inside + outer);
  vec3 mixed = color * inside + v_halo.rgb * outer;
  gl_FragColor = vec4(mixed * alpha, whole);
  #endif
}
`;

const UNIFORMS = ["u_matrix", "u_unit", "u_pixelRatio", "u_world"] as const;

export function discProgram(world: number) {
  return class NodeDiscProgram extends NodeProgram<(typeof UNIFORMS)[number]> {
    getDefinition() {
      const color = { size: 4, type: UNSIGNED_BYTE, normalized: true };
      return {
        VERTICES: 6,
        VERTEX_SHADER_SOURCE: VERTEX,
        FRAGMENT_SHADER_SOURCE: FRAGMENT,
        METHOD: WebGLRenderingContext.TRIANGLES,
        UNIFORMS,
        ATTRIBUTES: [
          { name: "a_position", size: 2, type: FLOAT },
          { name: "a_id", ...color },
          { name: "a_fill", ...color },
          { name: "a_ring", ...color },
          { name: "a_rim", ...color },
          { name: "a_halo", ...color },
          { name: "a_look", size: 4, type: FLOAT },
          { name: "a_more", size: 2, type: FLOAT },
        ],
        CONSTANT_ATTRIBUTES: [{ name: "a_corner", size: 2, type: FLOAT }],
        CONSTANT_DATA: [
          [-1, -1],
          [1, -1],
          [-1, 1],
          [-1, 1],
          [1, -1],
          [1, 1],
        ],
      };
    }

    processVisibleItem(
      nodeIndex: number,
      startIndex: number,
      data: NodeDisplayData & Partial<DiscData>,
    ): void {
      const { array } = this;
      let at = startIndex;
      array[at++] = data.x;
      array[at++] = data.y;
      array[at++] = nodeIndex;
      array[at++] = floatColor(data.color);
      array[at++] = floatColor(data.ring ?? data.color);
      array[at++] = floatColor(data.rim ?? "rgba(0,0,0,0)");
      array[at++] = floatColor(data.halo ?? data.color);
      array[at++] = data.size;
      array[at++] = data.ringWidth ?? 0;
      array[at++] = data.square ? 1 : 0;
      array[at++] = data.dashed ? 1 : 0;
      array[at++] = data.alpha ?? 1;
      array[at++] = data.glow ?? 0;
    }

    setUniforms(params: RenderParams, { gl, uniformLocations }: ProgramInfo): void {
      gl.uniformMatrix3fv(uniformLocations.u_matrix ?? null, false, params.matrix);
      gl.uniform1f(uniformLocations.u_unit ?? null, params.sizeRatio);
      gl.uniform1f(uniformLocations.u_pixelRatio ?? null, params.pixelRatio);
      gl.uniform1f(uniformLocations.u_world ?? null, world);
    }
  };
}
