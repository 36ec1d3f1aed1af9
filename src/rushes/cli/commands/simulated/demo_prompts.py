"""The demo's own prompts: every model family, two languages."""

from collections.abc import Mapping
from types import MappingProxyType

DEMO_PROMPTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "sora-2": (
            "A paper boat drifts down a rain-filled gutter, seen from the height of a beetle",
            "一只橘猫在屋檐下看雨, 镜头缓缓推近它的眼睛",
            "The night shift at a bakery: flour hangs in the light of one lamp",
            "A lighthouse keeper paints the railing while the tide comes in, time lapse",
            "清晨的菜市场, 蒸笼冒着热气, 手持镜头跟着一位老奶奶",
            "Two old men play chess on a train; the landscape outside changes with every move",
            "A hummingbird and a wind-up toy meet at a window box, macro, slow motion",
            "沙漠公路上的一辆红色老爷车, 航拍, 夕阳拉长了影子",
            "Ink dropped into water slowly takes the shape of a running horse",
            "An empty theatre: the curtain breathes as if the building were asleep",
        ),
        "veo-flash": (
            "A street musician tunes a cello in an underpass, footsteps echo around her",
            "雪后的胡同, 一个孩子骑着自行车按响铃铛",
            "Close-up of a watchmaker's hands as the first tick is heard",
            "A flock of starlings folds over a harbour at dusk, ships' horns far away",
            "茶叶在玻璃壶里慢慢舒展, 能听见水声",
            "A robot vacuum cleaner explores an abandoned greenhouse",
        ),
        "veo-pro": (
            "A ballet dancer rehearses on the roof of a high-rise in the fog, one long take",
            "大漠中的驼队穿过月牙泉, 风声与驼铃, 电影感宽画幅",
            "A glassblower turns a glowing sphere, the workshop reflected in it",
            "The first tram of the day rolls through a city of paper",
        ),
        "minimax-h3": (
            "A fox in a raincoat waits for the last bus, watercolour style",
            "宇航员在月球上种下一棵小树, 地球从地平线升起",
            "Macro: frost grows across a violin string while it is played",
            "A kite shop where every kite remembers its own wind",
            "老唱片机旁的窗帘随音乐轻轻摆动",
            "A diver meets a whale made of constellations",
            "Noodles pulled by hand in a night market, sparks from the stove",
            "竹林里的武者收剑入鞘, 落叶在空中停住一瞬",
        ),
    }
)
