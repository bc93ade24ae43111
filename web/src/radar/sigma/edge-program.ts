/**
 * Draws one cubic curve with an arrow head for each piece of an edge. sigma's own programs draw
 * straight lines or quadratic bows; the tiered map needs level tangents at both ends.
 */
import { EdgeProgram, type ProgramInfo } from "sigma/rendering";
import type { EdgeDisplayData, NodeDisplayData, RenderParams } from "sigma/types";
import { floatColor } from "sigma/utils";
import type { Cubic } from "../layout/types";
import { WORLD } from "./world";

/** What the program draws, besides what sigma knows of an edge. */
export interface CurveData {
  curve: Cubic;
  /** The last piece of an edge carries the arrow head. */
  arrow: boolean;
  alpha: number;
}

/** Straight pieces of a curve: at 270 units of width no corner can be seen. */
const PIECES = 22;
const FLOAT = WebGLRenderingContext.FLOAT;
const UNSIGNED_BYTE = WebGLRenderingContext.UNSIGNED_BYTE;

const VERTEX = /*glsl*/ `
attribute vec3 a_vertex;
attribute vec4 a_start;
attribute vec4 a_finish;
attribute vec4 a_color;
attribute vec3 a_look;

uniform mat3 u_matrix;
uniform float u_unit;
uniform float u_pixelRatio;

varying vec4 v_color;
varying float v_across;
varying float v_half;

const float bias = 255.0 / 254.0;
const float arrowLength = 10.0;
const float arrowHalf = 4.6;

vec2 place(vec4 s, vec4 f, float t) {
  float u = 1.0 - t;
  return u * u * u * s.xy + 3.0 * u * u * t * s.zw + 3.0 * u * t * t * f.xy + t * t * t * f.zw;
}

vec2 along(vec4 s, vec4 f, float t) {
  float u = 1.0 - t;
  return 3.0 * u * u * (s.zw - s.xy) + 6.0 * u * t * (f.xy - s.zw) + 3.0 * t * t * (f.zw - f.xy);
}

void main() {
  float pixel = u_unit / u_pixelRatio;
  float halfWidth = max(a_look.x * 0.5, 0.55 * u_unit);
  float withArrow = a_look.y;
  vec2 tip = a_finish.zw;
  vec2 head = normalize(along(a_start, a_finish, 1.0) + vec2(0.00001, 0.0));
  vec4 finish = a_finish;
  finish.xy -= head * arrowLength * 0.9 * withArrow;
  finish.zw -= head * arrowLength * 0.9 * withArrow;

  vec2 centre;
  vec2 direction;
  float halfHere = halfWidth;
  if (a_vertex.z > 0.5) {
    centre = tip - head * arrowLength * (1.0 - a_vertex.x);
    direction = head;
    halfHere = arrowHalf * (1.0 - a_vertex.x) * withArrow;
  } else {
    centre = place(a_start, finish, a_vertex.x);
    direction = normalize(along(a_start, finish, a_vertex.x) + vec2(0.00001, 0.0));
  }
  vec2 normal = vec2(-direction.y, direction.x);
  float reach = halfHere + pixel;
  if (a_vertex.z > 0.5 && withArrow < 0.5) reach = 0.0;
  vec2 spot = centre + normal * a_vertex.y * reach;

  gl_Position = vec4((u_matrix * vec3(spot / ${WORLD.toFixed(1)} + 0.5, 1.0)).xy, 0.0, 1.0);
  v_across = a_vertex.y * reach / pixel;
  v_half = halfHere / pixel;
  v_color = a_color;
  v_color.a = v_color.a * bias * a_look.z;
}
`;

const FRAGMENT = /*glsl*/ `
precision highp float;
varying vec4 v_color;
varying float v_across;
varying float v_half;

void main() {
  float cover = clamp(v_half - abs(v_across) + 0.5, 0.0, 1.0);
  float alpha = v_color.a * cover;
  gl_FragColor = vec4(v_color.rgb * alpha, alpha);
}
`;

/** Two triangles for each piece, then two for the arrow head: (along, across, is head). */
function vertices(): number[][] {
  const list: number[][] = [];
  const quad = (from: number, to: number, head: number) => {
    list.push([from, -1, head], [from, 1, head], [to, -1, head]);
    list.push([to, -1, head], [from, 1, head], [to, 1, head]);
  };
  for (let piece = 0; piece < PIECES; piece++) quad(piece / PIECES, (piece + 1) / PIECES, 0);
  quad(0, 1, 1);
  return list;
}

const UNIFORMS = ["u_matrix", "u_unit", "u_pixelRatio"] as const;

export class EdgeCurveProgram extends EdgeProgram<(typeof UNIFORMS)[number]> {
  getDefinition() {
    const constant = vertices();
    return {
      VERTICES: constant.length,
      VERTEX_SHADER_SOURCE: VERTEX,
      FRAGMENT_SHADER_SOURCE: FRAGMENT,
      METHOD: WebGLRenderingContext.TRIANGLES,
      UNIFORMS,
      ATTRIBUTES: [
        { name: "a_start", size: 4, type: FLOAT },
        { name: "a_finish", size: 4, type: FLOAT },
        { name: "a_color", size: 4, type: UNSIGNED_BYTE, normalized: true },
        { name: "a_look", size: 3, type: FLOAT },
      ],
      CONSTANT_ATTRIBUTES: [{ name: "a_vertex", size: 3, type: FLOAT }],
      CONSTANT_DATA: constant,
    };
  }

  processVisibleItem(
    _edgeIndex: number,
    startIndex: number,
    _source: NodeDisplayData,
    _target: NodeDisplayData,
    data: EdgeDisplayData & Partial<CurveData>,
  ): void {
    const { array } = this;
    let at = startIndex;
    const curve = data.curve ?? [0, 0, 0, 0, 0, 0, 0, 0];
    // The map's y grows downwards, sigma's upwards.
    for (let i = 0; i < 8; i += 2) {
      array[at++] = curve[i] ?? 0;
      array[at++] = -(curve[i + 1] ?? 0);
    }
    array[at++] = floatColor(data.color);
    array[at++] = data.size;
    array[at++] = data.arrow ? 1 : 0;
    array[at++] = data.alpha ?? 1;
  }

  setUniforms(params: RenderParams, { gl, uniformLocations }: ProgramInfo): void {
    gl.uniformMatrix3fv(uniformLocations.u_matrix ?? null, false, params.matrix);
    gl.uniform1f(uniformLocations.u_unit ?? null, params.sizeRatio);
    gl.uniform1f(uniformLocations.u_pixelRatio ?? null, params.pixelRatio);
  }
}
